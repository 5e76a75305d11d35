"""Parsing of slash command arguments by the parameters of the command's function.

A positional argument may also be given as an option, ``/trim --keep 5`` like ``/trim 5``, as on the command line.
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
    """The type of an argument.

    Attributes:
        shown: its name in usage lines; empty for a flag.
        completes: the kind of completion that `completers` offers.
        rest: it takes the rest of the line unparsed.
        words: it takes every word that is not an option.
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
        """Its spelling as an option, such as ``--keep``."""
        return "--" + self.name.strip("_").replace("_", "-")

    @property
    def shown(self) -> str:
        """Its form in the usage line."""
        text = f"{self.written} {self.kind.shown}".strip() if self.option else self.kind.shown
        return text if self.required else f"[{text}]"


def options_of(arguments: Sequence[Argument]) -> dict[str, Argument]:
    """Return the options by spelling: long, and short where the first letter is unambiguous; -s is --session."""
    named = {a.written: a for a in arguments if a.option or not (a.kind.rest or a.kind.words)}
    letters = [a.written[2] for a in arguments if a.option]
    return named | {
        f"-{a.written[2]}": a
        for a in arguments
        if a.option and (a.written == "--session" or letters.count(a.written[2]) == 1)
    }


def argument_of(parameter: inspect.Parameter, hint: Any) -> Argument:
    """Return the argument for a parameter and its resolved annotation."""
    parts = [hint, *get_args(hint)] if get_origin(hint) is not Annotated else [hint]
    annotated = next((part for part in parts if get_origin(part) is Annotated), None)
    if annotated is None:
        raise TypeError(f"the parameter {parameter.name} of a slash command has no argument type")
    plain, kind = get_args(annotated)[:2]
    return Argument(
        parameter.name,
        kind,
        plain,
        parameter.default is parameter.empty,
        parameter.kind is parameter.KEYWORD_ONLY,
    )


class Reading:
    """Parses one line.

    Args:
        arguments: the arguments of the command.
        wrong: builds the error for invalid input.
    """

    def __init__(self, arguments: Sequence[Argument], wrong: Callable[[str], UsageError]) -> None:
        self._arguments = arguments
        self._wrong = wrong
        self._options = options_of(arguments)
        self._values: dict[str, Any] = {}
        self._words: list[str] = []

    def read(self, line: str) -> dict[str, Any]:
        """Parse a line and return the values by parameter name.

        Raises:
            UsageError: the line is invalid.
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
        """Return the next option, or an empty string."""
        name = rest.split(maxsplit=1)[0].partition("=")[0]
        if not re.match(r"--?[a-z]", name):
            return ""
        if name in self._options:
            return name
        following = self._next()
        if following is not None and following.kind.rest:
            return ""  # text may start with a dash
        raise self._wrong(f"{one_line(name)} is not an option of this command")

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
        """Assign the next words to the next argument without a value."""
        argument = self._next()
        if argument is None:
            raise self._wrong(f"unexpected argument {one_line(rest)!r}")
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
            raise self._wrong(f"{one_line(word)!r} is not a whole number") from error


def _word(text: str, *, quoted: bool = False) -> tuple[str, str]:
    """Split off the first word, which may be quoted; return it, with or without quotes, and the rest."""
    if text[0] in "\"'" and (end := text.find(text[0], 1)) > 0:
        return (text[: end + 1] if quoted else text[1:end]), text[end + 1 :].strip()
    word, *rest = text.split(maxsplit=1)
    return word, "".join(rest).strip()
