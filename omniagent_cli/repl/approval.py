"""Asking the person before a tool writes or destroys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from omniagent_cli.agent.tools.permissions import Allowed
from omniagent_cli.agent.tools.tool import Decision, Tool
from omniagent_cli.config import Settings, add_value, config_path
from omniagent_cli.errors import ConfigError
from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import one_line

_ARGUMENTS = 20
_LINES = 12
_HEAD, _TAIL = 400, 100
"""Characters that are shown of a long line: what it begins with, and how it ends, where things are hidden best."""

Ask = Callable[[str, Sequence[str]], Awaitable[str | None]]
"""Shows lines, then asks the person for one; None when they leave."""


class Approval:
    """Asks yes, no, always here, or always; one question at a time, because tools of one answer run side by side.

    For what destroys, always has to be written in full: a slip of one key is not for ever.

    Args:
        ask: asks the person.
        left: called when they leave the question: the turn is to be stopped.
        session: returns the id of the session that is gone on with; always here is for that one, in this run.
        keep: writes down that a tool is always allowed, and returns where.
        tell: says a line to the person.
        allowed: what was allowed beforehand.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        left: Callable[[], None],
        session: Callable[[], str],
        keep: Callable[[str], str],
        tell: Callable[[str], None],
        allowed: Allowed | None = None,
    ) -> None:
        self._ask = ask
        self._left = left
        self._session = session
        self._keep = keep
        self._tell = tell
        self._allowed = allowed or Allowed()
        self._here: set[tuple[str, str]] = set()
        self._always: set[str] = set()
        self._one_by_one = asyncio.Lock()

    async def __call__(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision:
        """Tell whether a tool may run with these arguments."""
        async with self._one_by_one:
            if found := self._allowed.decision(tool):
                return found
            if tool.name in self._always:
                return Decision(allowed=True, by="config")
            if (self._session(), tool.name) in self._here:
                return Decision(allowed=True, by="session")
            return await self._asked(tool, arguments)

    async def _asked(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision:
        told = [_headline(tool), *shown_arguments(arguments)]
        destroys = tool.effect == "destroy"
        choices = "[y]es, [N]o, always [h]ere" + (", always" if destroys else ", [a]lways")
        while True:
            answer = await self._ask(f"allow it? {choices}: ", told)
            if answer is None:
                self._left()
                return Decision(allowed=False, by="asked")
            word = answer.strip().lower()
            if word in ("", "n", "no"):
                return Decision(allowed=False, by="asked")
            if word in ("y", "yes"):
                return Decision(allowed=True, by="asked")
            if word in ("h", "here"):
                self._here.add((self._session(), tool.name))
                return Decision(allowed=True, by="asked")
            if word == "always" or (word == "a" and not destroys):
                await self._allow_always(tool)
                return Decision(allowed=True, by="asked")
            told = [_again(word, destroys=destroys)]

    async def _allow_always(self, tool: Tool) -> None:
        self._always.add(tool.name)
        try:
            where = await asyncio.to_thread(self._keep, tool.name)
        except ConfigError as error:
            self._tell(f"it is allowed in this run only: {error}")
        else:
            self._tell(
                f"{one_line(tool.name)} runs unasked from now on, in every chat and script: it stands in "
                f"tools.allow in {where}"
            )


def allow_for_good(settings: Settings, name: str) -> str:
    """Write a tool into ``tools.allow`` of the person's file, and return the file.

    Raises:
        ConfigError: it cannot be changed.
    """
    path = config_path(settings.environ, settings.user_file)
    add_value(path, "tools.allow", name)
    return one_line(str(path))


def _headline(tool: Tool) -> str:
    does = "destroys" if tool.effect == "destroy" else "writes"
    whose = f" of {one_line(tool.skill)}" if tool.skill else ""
    return f"{one_line(tool.name)}{whose} {does}:"


def _again(word: str, *, destroys: bool) -> str:
    if destroys and word == "a":
        return "it destroys: write the whole word, always, to allow it for good; h allows it in this chat"
    return "answer with one of the letters"


def shown_arguments(arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a call for a person to judge, a few lines each.

    Every character that cannot be seen is shown by its code, a long value by how it begins and ends and its length.
    """
    lines = []
    for name, value in list(arguments.items())[:_ARGUMENTS]:
        lines += _argument(_seen(name), value)
    if len(arguments) > _ARGUMENTS:
        lines.append(f"  ... and {len(arguments) - _ARGUMENTS} more arguments")
    return lines or ["  (no arguments)"]


def _argument(name: str, value: Any) -> list[str]:
    text = value if isinstance(value, str) else dump(value).decode()
    parts = text.split("\n")
    if not isinstance(value, str) or len(parts) == 1:
        return [f"  {_bounded(name)}: {_bounded(_seen(text))}"]
    shown = [f"    | {_bounded(_seen(part))}" for part in parts]
    if len(shown) > _LINES:
        head, tail = shown[: _LINES - 3], shown[-2:]
        more = len(parts) - len(head) - len(tail)
        shown = [*head, f"    ... {more:,} more lines, {len(text):,} characters in all ...", *tail]
    return [f"  {_bounded(name)}:", *shown]


def _seen(text: str) -> str:
    """Return text with what is invisible, turns the line around or drives a terminal as codes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)


def _bounded(text: str) -> str:
    if len(text) <= _HEAD + _TAIL:
        return text
    return f"{text[:_HEAD]} ... {text[-_TAIL:]} ({len(text):,} characters)"
