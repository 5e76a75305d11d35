"""The registry of slash commands: one decorated function each, with usage and help derived from it.

The signature is the usage: positional parameters are words, one marked `rest` takes the rest of the line,
keyword-only ones are options (``--at N``, also ``-a N``), and parameters with a default are optional. Words and
options are those of the command line.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.repl.arguments import Argument, Kind, Reading, argument_of
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.views import quoted

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat

Run = Callable[..., Awaitable[None]]


SessionId = Annotated[str, Kind("ID", "sessions")]
NewId = Annotated[str, Kind("NEW")]
ModelName = Annotated[str, Kind("MODEL", "models")]
Tags = Annotated[Sequence[str], Kind("TAG", "tags", many=True)]
Pairs = Annotated[Sequence[str], Kind("K=V", many=True)]
Time = Annotated[str, Kind("TIME")]
Age = Annotated[str, Kind("AGE")]
Role = Annotated[str, Kind("ROLE", "roles")]
SortKey = Annotated[str, Kind("KEY", "sorts")]
Flag = Annotated[bool, Kind("")]
CommandName = Annotated[str, Kind("NAME", "commands")]
MetadataKey = Annotated[str, Kind("KEY", "metadata")]
Format = Annotated[str, Kind("FORMAT", "formats")]
File = Annotated[str, Kind("FILE", "files", rest=True)]
FileWord = Annotated[str, Kind("FILE", "files")]
Attached = Annotated[str, Kind("FILE|--clear", "paths", rest=True)]
Text = Annotated[str, Kind("TEXT", rest=True)]
TextOrFile = Annotated[str, Kind("TEXT|@FILE", "files", rest=True)]
SearchText = Annotated[str, Kind("QUERY", words=True)]
Count = Annotated[int, Kind("N")]


@dataclass(frozen=True)
class Command:
    """One slash command."""

    name: str
    run: Run

    @cached_property
    def arguments(self) -> list[Argument]:
        """Its arguments, in the order of the function's parameters."""
        hints = get_type_hints(self.run, include_extras=True)
        parameters = list(inspect.signature(self.run).parameters.values())[1:]
        return [argument_of(parameter, hints[parameter.name]) for parameter in parameters]

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

    def parse(self, line: str) -> dict[str, Any]:
        """Parse the text after the name.

        Raises:
            UsageError: the text does not match the usage.
        """
        return Reading(self.arguments, self._wrong).read(line)

    def _wrong(self, what: str) -> UsageError:
        return UsageError(f"/{self.name}: {what}; usage: {self.usage}")


_COMMANDS: dict[str, Command] = {}


def command(name: str) -> Callable[[Run], Run]:
    """Register a function as a slash command."""

    def add(run: Run) -> Run:
        _COMMANDS[name] = Command(name, run)
        return run

    return add


_ALIASES = {"exit": "quit", "q": "quit", "resume": "switch", "ls": "sessions"}
"""Commands of other chats, and the equivalent commands here."""


def commands() -> dict[str, Command]:
    """Return every slash command by name; importing `omniagent_cli.repl.commands` registers them."""
    return _COMMANDS


def find(name: str) -> Command:
    """Return a command by name.

    Raises:
        UsageError: the command does not exist; the message lists close matches.
    """
    known = commands()
    found = known.get(name) or known.get(_ALIASES.get(name, ""))
    if found:
        return found
    raise UsageError(f"unknown command /{one_line(name)}; {_hint(name)}")


def _hint(name: str) -> str:
    close = list(_close(name))[:3]
    meant = f"did you mean {' or '.join('/' + match for match in close)}? " if close else ""
    return f"{meant}/help lists the commands, //{one_line(name)[:20]} sends it as text"


def _close(name: str) -> Iterator[str]:
    known = commands()
    begins = [key for key in known if name and key.startswith(name)]
    similar = get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    yield from dict.fromkeys([*begins, *similar])


async def run_command(chat: Chat, line: str) -> None:
    """Run a line that starts with a slash.

    Raises:
        OmniAgentError: the command failed.
    """
    name, *rest = line[1:].split(maxsplit=1) or [""]
    if name not in _COMMANDS and name not in _ALIASES:
        from omniagent_cli.repl import saved_prompts

        if saved_prompts.is_saved_prompt(chat, name):
            await saved_prompts.send_saved_prompt(chat, name, "".join(rest))
            return
    found = find(name)
    given = found.parse("".join(rest))
    try:
        await found.run(chat, **given)
    except SessionNotFound as error:
        if error.session_id != chat.session_id or await chat.call(_is_there, chat):
            raise
        raise SessionNotFound(
            f"{quoted(chat.session_id)} has no messages yet; your first message creates it",
            session_id=chat.session_id,
        ) from error


def _is_there(chat: Chat) -> bool:
    return chat.store.exists(chat.session_id)
