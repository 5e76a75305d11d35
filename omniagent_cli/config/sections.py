"""Typed access to settings: ``settings.window.max_messages``.

The classes only declare types; a test compares the names with the table.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, tzinfo
from typing import Any, Literal

Get = Callable[[str], Any]


class Section:
    """Attributes that are looked up in one table of settings."""

    def __init__(self, get: Get, table: str) -> None:
        self._get = get
        self._table = table

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._get(f"{self._table}.{name}")


class StoreSection(Section):
    """``store.*``; use `resolve_store` to open one."""

    url: str | None
    compress: bool
    encrypt: bool | None
    key_file: str | None


class SessionsSection(Section):
    """``sessions.*``; a TTL of None means never, a trash TTL of zero keeps nothing."""

    enabled: bool
    ttl: timedelta | None
    trash_ttl: timedelta


class AgentSection(Section):
    """``agent.*``; a timeout of None waits forever."""

    system_prompt: str | None
    provider: str | None
    base_url: str | None
    api: Literal["responses", "chat"] | None
    temperature: float | None
    max_tokens: int | None
    seed: int | None
    reasoning_effort: str | None
    max_tool_rounds: int
    first_token_timeout: timedelta | None
    token_timeout: timedelta | None


class WindowSection(Section):
    """``window.*``: the messages sent to the model."""

    max_messages: int
    max_tokens: int | None
    compact_at: float | None


class AskSection(Section):
    """``ask.*``."""

    keep: bool


class ChatSection(Section):
    """``chat.*``: the prompt."""

    editing_mode: str
    history: bool
    theme: str
    thinking: Literal["folded", "full", "hidden"]
    screen_reader: bool


class DisplaySection(Section):
    """``display.*``: appearance of output."""

    color: str
    pager: str
    width: int


class TitlesSection(Section):
    """``titles.*``."""

    model: str | None


class SyncSection(Section):
    """``sync.*``."""

    auto: str | None
    host: str | None


class RolloverSection(Section):
    """``rollover.*``; an idle time of None never starts a new session."""

    idle: timedelta | None
    daily: bool
    timezone: tzinfo | None


class ToolsSection(Section):
    """``tools.*``."""

    enabled: bool
    disabled: tuple[str, ...]
    allow: tuple[str, ...]
