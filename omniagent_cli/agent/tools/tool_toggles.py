"""Which tools are on: in the settings, for one run, and in one session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.tools.tool import Tool
from omniagent_cli.errors import KeyNotFound, SessionNotFound, UsageError

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

STATE_KEY = "tools"
"""Key of a session's state that holds what ``/tools on|off`` switched: ``{"on": [NAME...], "off": [NAME...]}``."""


@dataclass(frozen=True, slots=True)
class ToolToggles:
    """What is offered of what there is; names are those of tools or of whole skills.

    Attributes:
        only: nothing else; None is everything.
        disabled: never.
    """

    only: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()

    def why_off(self, tool: Tool) -> str:
        """Return ``disabled`` or ``not chosen``; empty when the tool is on."""
        names = {tool.name, tool.skill} - {""}
        if names & self.disabled:
            return "disabled"
        return "not chosen" if self.only is not None and not names & self.only else ""


@dataclass(frozen=True, slots=True)
class SessionToolToggles:
    """What was switched in one session; a tool's own name counts more than its skill's."""

    on: frozenset[str] = frozenset()
    off: frozenset[str] = frozenset()

    @classmethod
    def from_state(cls, value: Any) -> SessionToolToggles:
        """Read what a session's state holds; what it cannot be is left out, for anybody may have imported it."""
        found = value if isinstance(value, dict) else {}
        names = {
            key: frozenset(name for name in found.get(key) or () if isinstance(name, str))
            for key in ("on", "off")
            if isinstance(found.get(key), list)
        }
        return cls(**names)

    def to_state(self) -> dict[str, list[str]]:
        """Return what a session's state holds."""
        return {"on": sorted(self.on), "off": sorted(self.off)}

    def with_toggle(self, name: str, tools: Iterable[str] = (), *, on: bool) -> SessionToolToggles:
        """Return the switches with one more: of a tool, or of a skill with these tools."""
        names = {name, *tools}
        if on:
            return replace(self, on=self.on - names | {name}, off=self.off - names)
        return replace(self, on=self.on - names, off=self.off - names | {name})

    def is_off(self, tool: Tool) -> bool:
        """Tell whether a tool is off here."""
        if tool.name in self.on or tool.name in self.off:
            return tool.name in self.off
        return tool.skill in self.off


@dataclass(frozen=True, slots=True)
class ToolStatus:
    """One tool there is.

    Attributes:
        why_off: ``disabled`` (in the settings), ``not chosen`` (for this run), ``session``; empty when it is on.
    """

    tool: Tool
    why_off: str = ""


def resolve_toggle(known: Sequence[ToolStatus], name: str, *, on: bool) -> list[str]:
    """Return the tools that a name stands for: itself, or those of the skill.

    Raises:
        UsageError: there is none, or it cannot be switched on in a session.
    """
    meant = [entry for entry in known if name in (entry.tool.name, entry.tool.skill)]
    if not meant:
        names = sorted({n for e in known for n in (e.tool.name, e.tool.skill)} - {""})
        raise UsageError(
            f"there is no tool or skill {name!r}; there are: {', '.join(names) or 'none'}"
        )
    if on and all(entry.why_off in ("disabled", "not chosen") for entry in meant):
        where = "in the settings" if meant[0].why_off == "disabled" else "for this run"
        raise UsageError(f"{name} is off {where}, and cannot be switched on in a session")
    return [entry.tool.name for entry in meant]


class SessionToggleStore:
    """What was switched in each session, and what is still to be written down."""

    def __init__(self) -> None:
        self._pending: dict[str, SessionToolToggles] = {}

    def load(self, store: SessionStore | None, session_id: str) -> SessionToolToggles:
        """Return what was switched in a session; what was switched before it existed is written down now."""
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
        """Write down what was switched, when there is a session; switching makes none."""
        if store is not None and store.exists(session_id):
            store.set_state(session_id, STATE_KEY, toggles.to_state())
            self._pending.pop(session_id, None)
        else:
            self._pending[session_id] = toggles
