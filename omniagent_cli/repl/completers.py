"""Completion at the prompt: slash commands and their arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import ROLES
from omniagent_cli.repl.arguments import Argument, options_of
from omniagent_cli.repl.paths import path_completions
from omniagent_cli.repl.registry import Command
from omniagent_cli.stores.backend import SORTS
from omniagent_cli.text.sanitize import cut, one_line

if TYPE_CHECKING:
    from omniagent_cli.repl.chat import Chat

_LIMIT = 50
_READ = 300
_HELP_LENGTH = 50

Offer = tuple[str, str]
"""A value to insert and its description."""


class SlashCompleter(Completer):
    """Completes by subsequence (``swi`` and ``sch`` both match ``switch``), best match first.

    It is called in a thread, so that a slow store never delays typing.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._sources: dict[str, Callable[[str], Iterable[Offer]]] = {
            "sessions": self._sessions,
            "models": self._models,
            "commands": lambda _: _commands(),
            "metadata": self._metadata,
            "formats": lambda _: _formats(),
            "files": _files,
            "actions": lambda _: (("set", ""), ("get", ""), ("unset", "")),
            "switches": lambda _: (("on", ""), ("off", "")),
            "roles": lambda _: ((role, "") for role in ROLES),
            "sorts": lambda _: ((key, "") for key in SORTS),
            "tags": self._tags,
            "tools": self._tools,
        }

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield completions at the cursor."""
        del complete_event
        line = document.text_before_cursor
        if not line.startswith("/") or line.startswith("//") or "\n" in line:
            return
        name, blank, rest = line[1:].partition(" ")
        if not blank:
            from omniagent_cli.repl.saved_prompts import offered_prompts

            yield from _fitting([*_commands(), *offered_prompts(self._chat)], name)
        elif name in (known := _registered()):
            yield from self._argument(known[name], rest)

    def _argument(self, found: Command, rest: str) -> Iterator[Completion]:
        if any(argument.kind.completes == "paths" for argument in found.arguments):
            yield from path_completions(rest.lstrip())
            return
        before, word = _split(rest)
        written = [a.written for a in found.arguments if a.option]
        if word.startswith("-") and written:
            yield from _fitting(((name, "") for name in written), word)
            return
        argument = _wanted(found, before)
        source = self._sources.get(argument.kind.completes) if argument else None
        if source is None:
            return
        if argument is not None and argument.kind.completes == "files":
            word = rest if argument.kind.rest and len(before) == 0 else word
        try:
            yield from _fitting(source(word), word)
        except OmniAgentError:
            return  # no completions; the command itself reports the error

    def _sessions(self, word: str) -> Iterator[Offer]:
        store = self._chat.store
        seen = set()
        for page in (
            store.list(prefix=word, limit=_LIMIT) if word else [],
            store.list(limit=_READ),
        ):
            for summary in page:
                if summary.id not in seen and summary.id != self._chat.session_id:
                    seen.add(summary.id)
                    yield summary.id, summary.title or summary.preview

    def _models(self, _word: str) -> Iterator[Offer]:
        yield from ((name, "") for name in dict.fromkeys(("recall", *self._chat.setup.models)))
        for name in {s.model for s in self._chat.store.list(limit=_LIMIT) if s.model}:
            yield name, "used before"

    def _tags(self, _word: str) -> Iterator[Offer]:
        found = self._chat.store.list(limit=_READ)
        yield from ((tag, "") for tag in dict.fromkeys(t for s in found for t in s.tags))

    def _tools(self, _word: str) -> Iterator[Offer]:
        agent = self._chat.agent
        yield from ((name, "") for name in (agent.toolset.names if agent else ()))

    def _metadata(self, _word: str) -> Iterator[Offer]:
        chat = self._chat
        if chat.message_count:
            yield from ((key, "") for key in chat.store.header(chat.session_id).metadata)


def _wanted(found: Command, before: list[str]) -> Argument | None:
    """Return the argument that the word at the cursor belongs to."""
    options = {name: a for name, a in options_of(found.arguments).items() if a.kind.shown}
    if before and before[-1] in options:
        return options[before[-1]]
    count = 0
    skip = False
    for word in before:
        if skip:
            skip = False
        elif word.startswith("-") and len(word) > 1:
            skip = word in options
        else:
            count += 1
    positional = [a for a in found.arguments if not a.option]
    if count < len(positional):
        return positional[count]
    return positional[-1] if positional and positional[-1].kind.rest else None


def _split(rest: str) -> tuple[list[str], str]:
    """Return the complete words before the cursor and the word at the cursor."""
    words = rest.split()
    if not words or rest[-1].isspace():
        return words, ""
    return words[:-1], words[-1]


def _fitting(offers: Iterable[Offer], word: str) -> Iterator[Completion]:
    ranked = []
    for number, (value, description) in enumerate(offers):
        rank = _rank(word, value)
        if rank is not None and not _drives_terminal(value):
            ranked.append((rank, number, value, description))
    for _, _, value, description in sorted(ranked)[:_LIMIT]:
        written = f'"{value}"' if " " in value and '"' not in value else value
        yield Completion(
            written,
            start_position=-len(word),
            display=one_line(value),
            display_meta=cut(one_line(description), _HELP_LENGTH),
        )


def _rank(word: str, value: str) -> tuple[int, int] | None:
    """Return the rank of a match, lower is better; None if the value does not match."""
    typed, whole = word.casefold(), value.casefold()
    place = whole.find(typed)
    if place >= 0:
        return (0 if place == 0 else 1, place)
    position, gaps = -1, 0
    for character in typed:
        found = whole.find(character, position + 1)
        if found < 0:
            return None
        gaps += found - position - 1
        position = found
    return (2, gaps)


def _drives_terminal(value: str) -> bool:
    """Return True if a value contains characters that cannot be displayed."""
    return one_line(value) != value


def _commands() -> Iterator[Offer]:
    yield from sorted((name, found.summary) for name, found in _registered().items())


def _registered() -> dict[str, Command]:
    from omniagent_cli.repl.commands import commands  # loaded with the first slash

    return commands()


def _formats() -> Iterator[Offer]:
    from omniagent_cli.formats import FORMATS

    yield from ((row.name, row.help) for row in FORMATS.values() if row.can_export)


def _files(word: str) -> Iterator[Offer]:
    at, path = ("@", word[1:]) if word.startswith("@") else ("", word)
    folder, _, start = path.rpartition("/")
    shown = f"{folder}/" if "/" in path else ""
    try:
        with os.scandir(os.path.expanduser(shown) or ".") as entries:  # noqa: PTH111  # the text stays as typed
            for _, entry in zip(range(_READ), entries, strict=False):
                if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                    yield f"{at}{shown}{entry.name}{'/' if entry.is_dir() else ''}", ""
    except OSError:
        return
