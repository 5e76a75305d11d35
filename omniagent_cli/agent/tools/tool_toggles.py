"""Toggles of tools: by the settings, for one run, and in one session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.tools.tool import Tool
from omniagent_cli.errors import KeyNotFound, SessionNotFound, UsageError

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

STATE_KEY = "tools"
"""Key in a session's state with the toggles of ``/tools on|off``: ``{"on": [NAME...], "off": [NAME...]}``."""


@dataclass(frozen=True, slots=True)
class ToolToggles:
    """The tools offered in all sessions, by the names of tools or skills.

    Attributes:
        only: the only names offered; None offers all.
        disabled: names never offered.
    """

    only: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()

    def why_off(self, tool: Tool) -> str:
        """Return ``disabled`` or ``not chosen``; empty if the tool is on."""
        names = {tool.name, tool.skill} - {""}
        if names & self.disabled:
            return "disabled"
        return "not chosen" if self.only is not None and not names & self.only else ""


@dataclass(frozen=True, slots=True)
class SessionToolToggles:
    """The toggles of one session; the name of a tool takes precedence over its skill's."""

    on: frozenset[str] = frozenset()
    off: frozenset[str] = frozenset()

    @classmethod
    def from_state(cls, value: Any) -> SessionToolToggles:
        """Read a session's state; invalid values, which may have been imported, are ignored."""
        state = value if isinstance(value, dict) else {}
        names = {
            key: frozenset(name for name in state.get(key) or () if isinstance(name, str))
            for key in ("on", "off")
            if isinstance(state.get(key), list)
        }
        return cls(**names)

    def to_state(self) -> dict[str, list[str]]:
        """Return the form stored in a session's state."""
        return {"on": sorted(self.on), "off": sorted(self.off)}

    def with_toggle(self, name: str, tools: Iterable[str] = (), *, on: bool) -> SessionToolToggles:
        """Return the toggles with one added, for a tool or for a skill with these tools."""
        names = {name, *tools}
        if on:
            return replace(self, on=self.on - names | {name}, off=self.off - names)
        return replace(self, on=self.on - names, off=self.off - names | {name})

    def is_off(self, tool: Tool) -> bool:
        """Return True if the tool is off in this session."""
        if tool.name in self.on or tool.name in self.off:
            return tool.name in self.off
        return tool.skill in self.off


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """The status of one tool.

    Attributes:
        why_off: ``disabled`` (in the settings), ``not chosen`` (for this run), ``session``; empty if it is on.
    """

    tool: Tool
    why_off: str = ""


def resolve_toggle(known: Sequence[ToolStatus], name: str, *, on: bool) -> list[str]:
    """Return the tools that a name refers to: the tool itself, or those of the skill.

    Raises:
        UsageError: the name is unknown, or cannot be turned on in a session.
    """
    matches = [entry for entry in known if name in (entry.tool.name, entry.tool.skill)]
    if not matches:
        names = sorted({n for e in known for n in (e.tool.name, e.tool.skill)} - {""})
        raise UsageError(f"unknown tool or skill {name!r}; available: {', '.join(names) or 'none'}")
    if on and all(entry.why_off in ("disabled", "not chosen") for entry in matches):
        where = "in the settings" if matches[0].why_off == "disabled" else "for this run"
        raise UsageError(f"{name} is off {where} and cannot be turned on in a session")
    return [entry.tool.name for entry in matches]


class SessionToggleStore:
    """The toggles of all sessions, including those not stored yet."""

    def __init__(self) -> None:
        self._pending: dict[str, SessionToolToggles] = {}

    def load(self, store: SessionStore | None, session_id: str) -> SessionToolToggles:
        """Return the toggles of a session; those made before it existed are stored now."""
        if store is None or not session_id:
            return SessionToolToggles()
        if (pending := self._pending.get(session_id)) is not None:
            self.save(store, session_id, pending)
            return pending
        try:
            return SessionToolToggles.from_state(store.get_state(session_id, STATE_KEY))
        except (SessionNotFound, KeyNotFound):
            return SessionToolToggles()

    def save(
        self, store: SessionStore | None, session_id: str, toggles: SessionToolToggles
    ) -> None:
        """Store the toggles if the session exists; otherwise keep them until it does."""
        if store is not None and store.exists(session_id):
            store.set_state(session_id, STATE_KEY, toggles.to_state())
            self._pending.pop(session_id, None)
        else:
            self._pending[session_id] = toggles
