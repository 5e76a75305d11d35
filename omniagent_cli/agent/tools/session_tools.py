"""What the tools of the sessions skill do: each reads or changes the store as far as its turn may, in bounded results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omniagent_cli.agent.tools.context import ToolContext
from omniagent_cli.errors import CorruptSession, KeyNotFound, SessionNotFound, UsageError
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import SessionSummary
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.text.sanitize import cut

Scope = Literal["current", "all"]

MAX_LISTED = 100
"""Sessions in one listing; it takes no parameters, so there is no second page."""

DEFAULT_HISTORY, MAX_HISTORY = 50, 200
DEFAULT_HITS, MAX_HITS = 20, 100

MAX_RESULT_CHARACTERS = 80_000
"""A result is made to fit, so that nobody has to cut its JSON; see `agent.tools` for what a model is entries at most."""

MAX_CONTENT_CHARACTERS = 12_000
"""One message of a history; written as JSON it fits a result, whatever characters it is made of."""

MAX_VALUE_CHARACTERS = 50_000
_MAX_KEY_CHARACTERS = 512
_MAX_QUERY_CHARACTERS = 2_000
_TURN_SEARCH_MESSAGES = 1_000


@dataclass(frozen=True, slots=True)
class SessionTools:
    """The store, as far as a turn may see it; each public method is one tool, arguments its arguments as they came."""

    store: SessionStore
    scope: Scope

    def list(self, context: ToolContext, _: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sessions used last, and how many there are."""
        damaged: list[CorruptSession] = []
        if self.scope == "current":
            listed = self._own(context)
            total, archived = len(listed), 0
        else:
            listed = self.store.list(limit=MAX_LISTED, damaged=damaged)
            total = self.store.count()
            archived = self.store.count(archived=True)
        returned = _within_limit([_session_record(summary) for summary in listed])
        notes = [
            f"these are the {len(returned)} used last; sessions_search finds messages in all"
            if total > len(returned) + len(damaged)
            else "",
            f"{len(damaged)} cannot be read: {cut(str(damaged[0]), 300)}" if damaged else "",
            f"archived sessions are not listed: {archived}" if archived else "",
        ]
        return _with_note({"sessions": returned, "total": total}, notes)

    def _own(self, context: ToolContext) -> Sequence[SessionSummary]:
        try:
            return [self.store.summary(context.session_id)] if context.session_id else []
        except SessionNotFound:
            return []

    def history(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the newest messages of a session, oldest first."""
        session_id = self._session(context, arguments)
        limit = _limit(arguments, DEFAULT_HISTORY, MAX_HISTORY)
        total = self.store.count_messages(session_id)
        newest = reversed(self.store.messages(session_id, last=limit))
        entries = [{"role": m.role, "content": _truncate(m.text)} for m in newest]
        returned = _within_limit(entries)[::-1]
        left_out = len(entries) - len(returned)
        note = (
            f"the {left_out} oldest of these were too long to be returned as well"
            if left_out
            else ""
        )
        facts = {
            "session_id": session_id,
            "messages": returned,
            "total": total,
            "returned": len(returned),
        }
        return _with_note(facts, [note])

    def get(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is known about a session, without its messages."""
        summary = self.store.summary(self._session(context, arguments))
        metadata, note = summary.metadata, ""
        if len(dump(metadata)) > MAX_VALUE_CHARACTERS:
            keys = ", ".join(cut(key, 40) for key in list(metadata)[:50])
            metadata = {}
            note = f"the metadata is too long to be returned; sessions_metadata_get reads one key of it: {keys}"
        facts = _session_record(summary)
        return _with_note(
            {"id": facts.pop("id"), "agent_id": summary.agent_id, **facts, "metadata": metadata},
            [note],
        )

    def clear(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Remove the messages of a session; of the running one, those before the running turn."""
        session_id = self._session(context, arguments)
        before = self._turn_start(context) if session_id == context.session_id else None
        cleared = self.store.clear(session_id, before=before)
        return {"session_id": session_id, "messages_cleared": cleared, "status": "cleared"}

    def _turn_start(self, context: ToolContext) -> int:
        """Return where the turn that calls begins: it goes on after the call, and its answer must have its question."""
        newest = self.store.messages(context.session_id, last=_TURN_SEARCH_MESSAGES)
        calling = next(
            (
                message
                for message in reversed(newest)
                if any(call.get("id") == context.call_id for call in message.tool_calls or ())
            ),
            newest[-1] if newest else None,
        )
        if calling is None:
            return 0
        own = [m for m in newest if m is calling or (m.turn_id and m.turn_id == calling.turn_id)]
        return own[0].position or 0

    def delete(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Remove a session."""
        session_id = self._session(context, arguments)
        if session_id == context.session_id:
            raise UsageError(
                "this conversation takes place in that session, so it cannot be deleted now;"
                " sessions_clear removes what was said before, and the person can delete it afterwards"
            )
        self.store.delete(session_id)
        return {"session_id": session_id, "status": "deleted"}

    def metadata_set(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Set one value; makes a session that is not there, but not the running one, which somebody deleted."""
        session_id = self._session(context, arguments)
        key = _text(arguments, "key", _MAX_KEY_CHARACTERS)
        value = _text(arguments, "value", MAX_VALUE_CHARACTERS, blank=True)
        if session_id == context.session_id:
            self.store.count_messages(session_id)
        self.store.set_metadata(session_id, key, _json_or_text(value))
        return {"session_id": session_id, "key": key, "status": "set"}

    def metadata_get(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return one value, or that there is none."""
        session_id = self._session(context, arguments)
        key = _text(arguments, "key", _MAX_KEY_CHARACTERS)
        try:
            value = self.store.get_metadata(session_id, key)
        except KeyNotFound:
            return {"session_id": session_id, "key": key, "exists": False}
        if (size := len(dump(value))) > MAX_RESULT_CHARACTERS:
            raise UsageError(
                f"the value of {key!r} takes {size} bytes as JSON, too many to be returned"
            )
        return {"session_id": session_id, "key": key, "value": value, "exists": True}

    def search(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the newest messages that hold every word."""
        query = _text(arguments, "query", _MAX_QUERY_CHARACTERS)
        limit = _limit(arguments, DEFAULT_HITS, MAX_HITS)
        session_id = None
        if arguments.get("session_id") is not None or self.scope == "current":
            session_id = self._session(context, {"session_id": context.session_id, **arguments})
        hits = self.store.search(query, session_id=session_id, limit=limit)
        found = [
            {
                "session_id": hit.session_id,
                "position": hit.position,
                "role": hit.role,
                "snippet": hit.snippet,
                "created_at": format_time(hit.created_at),
            }
            for hit in hits
        ]
        returned = _within_limit(found)
        more = not hits.complete or len(returned) < len(found)
        return _with_note(
            {"query": query, "results": returned, "returned": len(returned)},
            ["there are more; these are the newest" if more else ""],
        )

    def _session(self, context: ToolContext, arguments: Mapping[str, Any]) -> str:
        """Return the id that was arguments, if this turn may use it.

        Raises:
            UsageError: there is none, or it is another than the turn's and the scope is its own.
        """
        if self.scope == "current" and not context.session_id:
            raise UsageError("this conversation has no session, and no other may be used here")
        session_id = _text(arguments, "session_id", 2048)
        if self.scope == "current" and session_id != context.session_id:
            raise UsageError(
                f"only the session of this conversation may be used here: {context.session_id!r}"
            )
        return session_id


def _session_record(summary: SessionSummary) -> dict[str, Any]:
    return {
        "id": summary.id,
        "message_count": summary.message_count,
        "created_at": format_time(summary.created_at),
        "updated_at": format_time(summary.updated_at),
    }


def _truncate(text: str) -> str:
    if len(text) <= MAX_CONTENT_CHARACTERS:
        return text
    return f"{text[:MAX_CONTENT_CHARACTERS]}\n[cut: {len(text) - MAX_CONTENT_CHARACTERS} more characters]"


def _within_limit(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return as many records from the first on as one result holds."""
    room, fitting = MAX_RESULT_CHARACTERS, []
    for record in records:
        room -= len(dump(record).decode())
        if room < 0:
            break
        fitting.append(record)
    return fitting


def _with_note(facts: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """Add what a reader would not expect; without any, the keys are exactly the published ones."""
    entries = "; ".join(note for note in notes if note)
    return {**facts, "note": entries} if entries else facts


def _text(arguments: Mapping[str, Any], name: str, longest: int, *, blank: bool = False) -> str:
    value = arguments.get(name)
    if value is None or (value == "" and not blank):
        raise UsageError(f"{name} is required")
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text")
    if len(value) > longest:
        raise UsageError(f"{name} has {len(value)} characters; at most {longest} are allowed")
    return value


def _limit(arguments: Mapping[str, Any], default: int, highest: int) -> int:
    """Return how many are wanted; more than there may be is brought down, as a listing is cut."""
    limit = arguments.get("limit")
    if limit is None:
        return default
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)  # JSON has one kind of number
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        returned = cut(repr(limit), 80)
        raise UsageError(f"limit must be a whole number, zero or more, not {returned}")
    return min(limit, highest)


def _json_or_text(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(constant)  # NaN and infinities are no JSON

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return text
