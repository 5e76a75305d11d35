"""What follows a slash command, read by the parameters of its function.

A positional argument may also be given as an option of its name, ``/trim --keep 5`` like ``/trim 5``, so that what
is written on the command line works here too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from omniagent_cli.errors import UsageError
from omniagent_cli.text.sanitize import one_line


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument is.

    Attributes:
        shown: how usage lines call it; empty for an option without a value.
        completes: what `completers` offers for it.
        rest: it takes the rest of the line as it is.
        words: it takes every word that is no option.
        many: it may be given more than once.
    """

    shown: str
    completes: str = ""
    rest: bool = False
    words: bool = False
    many: bool = False


class Argument(NamedTuple):
    """One parameter of a command."""

    name: str
    kind: Kind
    convert: type
    required: bool
    option: bool

    @property
    def written(self) -> str:
        """How it is written as an option."""
        return "--" + self.name.strip("_").replace("_", "-")

    @property
    def shown(self) -> str:
        """How a usage line has it."""
        text = f"{self.written} {self.kind.shown}".strip() if self.option else self.kind.shown
        return text if self.required else f"[{text}]"


def options_of(arguments: Sequence[Argument]) -> dict[str, Argument]:
    """Return what may be written with dashes: long, and short where only one option begins so."""
    named = {a.written: a for a in arguments if a.option or not (a.kind.rest or a.kind.words)}
    letters = [a.written[2] for a in arguments if a.option]
    short = {f"-{a.written[2]}": a for a in arguments if a.option}
    return named | {key: a for key, a in short.items() if letters.count(key[1]) == 1}


def argument_of(parameter: inspect.Parameter, hint: Any) -> Argument:
    """Read one parameter of a function, with its resolved annotation."""
    parts = [hint, *get_args(hint)] if get_origin(hint) is not Annotated else [hint]
    annotated = next((part for part in parts if get_origin(part) is Annotated), None)
    if annotated is None:
        raise TypeError(f"the parameter {parameter.name} of a slash command says no kind")
    plain, kind = get_args(annotated)[:2]
    return Argument(
        parameter.name,
        kind,
        plain,
        parameter.default is parameter.empty,
        parameter.kind is parameter.KEYWORD_ONLY,
    )


class Reading:
    """Reads one line.

    Args:
        arguments: those of the command.
        wrong: makes the error of what does not fit.
    """

    def __init__(self, arguments: Sequence[Argument], wrong: Callable[[str], UsageError]) -> None:
        self._arguments = arguments
        self._wrong = wrong
        self._options = options_of(arguments)
        self._values: dict[str, Any] = {}
        self._words: list[str] = []

    def read(self, line: str) -> dict[str, Any]:
        """Return the values by the names of the parameters.

        Raises:
            UsageError: the line does not fit.
        """
        rest, dashes = line.strip(), True
        while rest:
            if dashes and rest.split(maxsplit=1)[0] == "--":
                dashes, rest = False, rest[2:].strip()
            elif dashes and (name := self._named(rest)):
                rest = self._take_option(name, rest)
            else:
                rest = self._take(rest)
        for argument in self._arguments:
            if argument.kind.words and self._words:
                self._values[argument.name] = " ".join(self._words)
            if argument.required and argument.name not in self._values:
                raise self._wrong(f"{argument.kind.shown} is missing")
        return self._values

    def _named(self, rest: str) -> str:
        """Return the option that comes next; empty when there is none."""
        name = rest.split(maxsplit=1)[0].partition("=")[0]
        if not re.match(r"--?[a-z]", name):
            return ""
        if name in self._options:
            return name
        following = self._next()
        if following is not None and following.kind.rest:
            return ""  # text may begin with a dash
        raise self._wrong(f"{one_line(name)} is no option of it")

    def _take_option(self, name: str, rest: str) -> str:
        option = self._options[name]
        rest = rest[len(name) :]
        if not option.kind.shown:
            if rest.startswith("="):
                raise self._wrong(f"{name} takes no value")
            self._values[option.name] = True
            return rest.strip()
        rest = rest[1:] if rest.startswith("=") else rest.strip()
        if not rest or rest[0].isspace():
            raise self._wrong(f"{name} needs {option.kind.shown}")
        word, rest = _word(rest)
        if option.kind.many:
            self._values[option.name] = (*self._values.get(option.name, ()), word)
        else:
            self._values[option.name] = self._converted(option, word)
        return rest

    def _take(self, rest: str) -> str:
        """Take the next words for the next argument that has no value yet."""
        argument = self._next()
        if argument is None:
            raise self._wrong(f"{one_line(rest)!r} is too much")
        if argument.kind.words:
            word, rest = _word(rest, quoted=True)
            self._words.append(word)
            return rest
        word, rest = (rest, "") if argument.kind.rest else _word(rest)
        self._values[argument.name] = self._converted(argument, word)
        return rest

    def _next(self) -> Argument | None:
        return next(
            (a for a in self._arguments if not a.option and a.name not in self._values), None
        )

    def _converted(self, argument: Argument, word: str) -> Any:
        if argument.convert is not int:
            return word
        try:
            return int(word)
        except ValueError as error:
            raise self._wrong(f"{one_line(word)!r} is no whole number") from error


def _word(text: str, *, quoted: bool = False) -> tuple[str, str]:
    """Cut off the first word, which may stand in quotes, and return it, with them or without, and the rest."""
    if text[0] in "\"'" and (end := text.find(text[0], 1)) > 0:
        return (text[: end + 1] if quoted else text[1:end]), text[end + 1 :].strip()
    word, *rest = text.split(maxsplit=1)
    return word, "".join(rest).strip()
