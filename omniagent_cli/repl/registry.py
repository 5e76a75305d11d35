"""Slash commands: one decorated function each; name, usage and help come from the function.

The signature is the usage: positional parameters are words, one marked `rest` takes what is left of the line,
keyword-only ones are options (``--at N``, also ``-a N``), and what has a default may be left out.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from omniagent_cli.errors import UsageError
from omniagent_cli.text import one_line

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat

Run = Callable[..., Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What an argument is.

    Attributes:
        shown: how usage lines call it.
        completes: what `completers` offers for it.
        rest: it takes the rest of the line as it is.
    """

    shown: str
    completes: str = ""
    rest: bool = False


SessionId = Annotated[str, Kind("ID", "sessions")]
NewId = Annotated[str, Kind("NEW")]
ModelName = Annotated[str, Kind("MODEL", "models")]
Tag = Annotated[str, Kind("TAG")]
CommandName = Annotated[str, Kind("NAME", "commands")]
MetadataKey = Annotated[str, Kind("KEY", "metadata")]
Format = Annotated[str, Kind("FORMAT", "formats")]
File = Annotated[str, Kind("FILE", "files", rest=True)]
Attached = Annotated[str, Kind("FILE|--clear", "paths", rest=True)]
Text = Annotated[str, Kind("TEXT", rest=True)]
TextOrFile = Annotated[str, Kind("TEXT|@FILE", "files", rest=True)]
SearchText = Annotated[str, Kind("QUERY", rest=True)]
Count = Annotated[int, Kind("N")]


class Argument(NamedTuple):
    """One parameter of a command."""

    name: str
    kind: Kind
    convert: type
    required: bool
    option: bool

    @property
    def shown(self) -> str:
        """How a usage line has it."""
        text = f"--{self.name} {self.kind.shown}" if self.option else self.kind.shown
        return text if self.required else f"[{text}]"


@dataclass(frozen=True)
class Command:
    """One slash command."""

    name: str
    run: Run

    @cached_property
    def arguments(self) -> list[Argument]:
        """Its parameters, in the order of the function."""
        hints = get_type_hints(self.run, include_extras=True)
        parameters = list(inspect.signature(self.run).parameters.values())[1:]
        return [_argument(parameter, hints[parameter.name]) for parameter in parameters]

    @property
    def usage(self) -> str:
        """Its usage line, such as ``/fork [NEW] [--at N]``."""
        return " ".join([f"/{self.name}", *(argument.shown for argument in self.arguments)])

    @property
    def summary(self) -> str:
        """The first line of its help."""
        return self.help.partition("\n")[0]

    @cached_property
    def help(self) -> str:
        """Its help: the function's docstring."""
        return inspect.cleandoc(self.run.__doc__ or "")

    def parse(self, line: str) -> tuple[list[Any], dict[str, Any]]:
        """Read what follows the name.

        Raises:
            UsageError: it does not fit the usage.
        """
        positional = [argument for argument in self.arguments if not argument.option]
        options = {a.name: a for a in self.arguments if a.option}
        values: list[Any] = []
        named: dict[str, Any] = {}
        rest = line.strip()
        flags = True
        while rest:
            option = self._option(rest, options, values) if flags else None
            if option is not None:
                _, rest = _word(rest)
                if not rest:
                    raise self._wrong(f"--{option.name} needs {option.kind.shown}")
                word, rest = _word(rest)
                named[option.name] = self._converted(option, word)
            elif flags and _word(rest) == ("--", rest[2:].strip()):
                flags, rest = False, rest[2:].strip()
            else:
                if len(values) >= len(positional):
                    raise self._wrong(f"{one_line(rest)!r} is too much")
                argument = positional[len(values)]
                word, rest = (rest, "") if argument.kind.rest else _word(rest)
                values.append(self._converted(argument, word))
        if missing := [a for a in positional[len(values) :] if a.required]:
            raise self._wrong(f"{missing[0].kind.shown} is missing")
        return values, named

    def _option(
        self, rest: str, options: dict[str, Argument], values: list[Any]
    ) -> Argument | None:
        """Return the option that comes next, if it is one."""
        word = rest.split(maxsplit=1)[0]
        if not re.match(r"--?[a-z]", word):
            return None
        name = word.lstrip("-")
        found = [a for key, a in options.items() if key == name or (word == f"-{key[0]}")]
        if found:
            return found[0]
        positional = [argument for argument in self.arguments if not argument.option]
        if positional[len(values) :] and positional[len(values)].kind.rest:
            return None  # text may begin with a dash
        raise self._wrong(f"{one_line(word)} is no option of it")

    def _converted(self, argument: Argument, word: str) -> Any:
        if argument.convert is not int:
            return word
        try:
            return int(word)
        except ValueError as error:
            raise self._wrong(f"{one_line(word)!r} is no whole number") from error

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"/{self.name}: {what}; write {self.usage}")


def _argument(parameter: inspect.Parameter, hint: Any) -> Argument:
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


def _word(text: str) -> tuple[str, str]:
    """Cut off the first word, which may stand in quotes, and return it and the rest."""
    if text[0] in "\"'" and (end := text.find(text[0], 1)) > 0:
        return text[1:end], text[end + 1 :].strip()
    word, *rest = text.split(maxsplit=1)
    return word, "".join(rest).strip()


_COMMANDS: dict[str, Command] = {}


def command(name: str) -> Callable[[Run], Run]:
    """Make a function a slash command."""

    def add(run: Run) -> Run:
        _COMMANDS[name] = Command(name, run)
        return run

    return add


def commands() -> dict[str, Command]:
    """Return every slash command by name."""
    import omniagent_cli.repl.commands  # noqa: F401  # its modules add themselves

    return _COMMANDS


def find(name: str) -> Command:
    """Return a command.

    Raises:
        UsageError: there is none of that name; says which ones are close.
    """
    known = commands()
    if name in known:
        return known[name]
    raise UsageError(f"there is no command /{one_line(name)}; {_hint(name)}")


def _hint(name: str) -> str:
    close = list(_close(name))[:3]
    meant = f"did you mean {' or '.join('/' + match for match in close)}? " if close else ""
    return f"{meant}/help lists them, and //{one_line(name)[:20]} sends it as text"


def _close(name: str) -> Iterator[str]:
    known = commands()
    begins = [key for key in known if name and key.startswith(name)]
    similar = get_close_matches(name, known, n=3, cutoff=0.5)
    yield from dict.fromkeys([*begins, *similar])


async def run_command(chat: Chat, line: str) -> None:
    """Run a line that begins with a slash.

    Raises:
        OmniAgentError: it could not be done.
    """
    name, *rest = line[1:].split(maxsplit=1) or [""]
    found = find(name)
    values, named = found.parse("".join(rest))
    await found.run(chat, *values, **named)
