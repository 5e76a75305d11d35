"""Approval prompts: ask the user before a tool writes or destroys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from omniagent_cli.agent.tools.permissions import PreapprovedTools
from omniagent_cli.agent.tools.tool import Decision, Tool
from omniagent_cli.config.edit import add_value
from omniagent_cli.config.paths import config_path
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import ConfigError
from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import one_line

_ARGUMENTS = 20
_LINES = 12
_HEAD, _TAIL = 400, 100
"""Characters shown of a long line, from its beginning and its end, where content is easiest to hide."""

Ask = Callable[[str, Sequence[str], str], Awaitable[str | None]]
"""Prints lines, the first one in a style, then asks the user for one; returns None when they leave."""


class Approval:
    """Asks for approval: yes, no, always here, or always.

    Only one question is open at a time, because the tool calls of an answer run concurrently. For a tool that
    destroys, "always" must be typed in full, so that one mistyped key grants nothing permanent.

    Args:
        ask: asks the user.
        left: called when the user leaves the question, to stop the turn.
        session: returns the id of the current session, the scope of "always here".
        keep: saves that a tool is always allowed and returns the file.
        tell: prints a line to the user.
        allowed: permissions granted beforehand.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        left: Callable[[], None],
        session: Callable[[], str],
        keep: Callable[[str], str],
        tell: Callable[[str], None],
        allowed: PreapprovedTools | None = None,
    ) -> None:
        self._ask = ask
        self._left = left
        self._session = session
        self._keep = keep
        self._tell = tell
        self._allowed = allowed or PreapprovedTools()
        self._here: set[tuple[str, str]] = set()
        self._always: set[str] = set()
        self._one_by_one = asyncio.Lock()

    async def __call__(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision:
        """Return True if a tool may run with these arguments."""
        async with self._one_by_one:
            if found := self._allowed.decision(tool):
                return found
            if tool.name in self._always:
                return Decision(allowed=True, by="config")
            if (self._session(), tool.name) in self._here:
                return Decision(allowed=True, by="session")
            return await self._request_approval(tool, arguments)

    async def _request_approval(self, tool: Tool, arguments: Mapping[str, Any]) -> Decision:
        lines = [_headline(tool), *shown_arguments(arguments)]
        destroys = tool.effect == "destroy"
        choices = "[y] once, [N] no, [h] in this chat, " + (
            "[always]" if destroys else "[a] always"
        )
        style = "bold red" if destroys else "bold yellow"
        while True:
            answer = await self._ask(f"Allow? {choices}: ", lines, style)
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
            lines = [_again(word, destroys=destroys)]

    async def _allow_always(self, tool: Tool) -> None:
        self._always.add(tool.name)
        try:
            where = await asyncio.to_thread(self._keep, tool.name)
        except ConfigError as error:
            self._tell(f"Allowed in this run only: {error}")
        else:
            self._tell(
                f"{one_line(tool.name)} is now allowed in all chats and scripts (tools.allow in {where})"
            )


def allow_permanently(settings: Settings, name: str) -> str:
    """Add a tool to ``tools.allow`` in the user's settings file and return the file.

    Raises:
        ConfigError: it cannot be changed.
    """
    path = config_path(settings.environ, settings.user_file)
    add_value(path, "tools.allow", name)
    return one_line(str(path))


def _headline(tool: Tool) -> str:
    does = (
        "deletes or overwrites data (destructive)" if tool.effect == "destroy" else "changes data"
    )
    whose = f" of {one_line(tool.skill)}" if tool.skill else ""
    return f"The model wants to run {one_line(tool.name)}{whose}, which {does}:"


def _again(word: str, *, destroys: bool) -> str:
    if destroys and word == "a":
        return "this tool is destructive: type the whole word always to allow it permanently, or h to allow it in this chat"
    return "type one of the letters"


def shown_arguments(arguments: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a call for review, a few lines each.

    Invisible characters are shown as codes, long values by their beginning, end and length.
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
    """Return text with invisible, bidirectional and control characters as codes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)


def _bounded(text: str) -> str:
    if len(text) <= _HEAD + _TAIL:
        return text
    return f"{text[:_HEAD]} ... {text[-_TAIL:]} ({len(text):,} characters)"
