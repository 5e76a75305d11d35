"""The tools of the sessions skill: bounded reads and changes of the store, within the scope of the turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from omniagent_cli.agent.tools.context import ToolContext
from omniagent_cli.errors import CorruptSession, KeyNotFound, SessionNotFound, UsageError
from omniagent_cli.json_format import dump, format_time
from omniagent_cli.models import SessionSummary
from omniagent_cli.parsing import parse_json_or_text
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.text.sanitize import cut

Scope = Literal["current", "all"]

MAX_LISTED = 100
"""The maximum number of sessions in a list, which takes no parameters and so has no second page."""

DEFAULT_HISTORY, MAX_HISTORY = 50, 200
DEFAULT_HITS, MAX_HITS = 20, 100

MAX_RESULT_CHARACTERS = 80_000
"""The maximum length of a result, below the limit at which `tool_results` truncates text and would break the JSON."""

MAX_CONTENT_CHARACTERS = 12_000
"""The maximum length of one message of a history; encoded as JSON it fits into a result, whatever its characters."""

MAX_VALUE_CHARACTERS = 50_000
_MAX_KEY_CHARACTERS = 512
_MAX_QUERY_CHARACTERS = 2_000
_TURN_SEARCH_MESSAGES = 1_000


@dataclass(frozen=True, slots=True)
class SessionTools:
    """The store within the scope of a turn; each public method is one tool and receives the unvalidated arguments."""

    store: SessionStore
    scope: Scope

    def list(self, context: ToolContext, _: Mapping[str, Any]) -> dict[str, Any]:
        """Return the most recently used sessions and the number of all."""
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
            f"only the {len(returned)} most recently used are listed; sessions_search searches all"
            if total > len(returned) + len(damaged)
            else "",
            f"{len(damaged)} damaged: {cut(str(damaged[0]), 300)}" if damaged else "",
            f"{archived} archived sessions are not listed" if archived else "",
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
        omitted = len(entries) - len(returned)
        note = (
            f"the {omitted} oldest of these are omitted, because the result would be too long"
            if omitted
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
        """Return the details of a session without its messages."""
        summary = self.store.summary(self._session(context, arguments))
        metadata, note = summary.metadata, ""
        if len(dump(metadata)) > MAX_VALUE_CHARACTERS:
            keys = ", ".join(cut(key, 40) for key in list(metadata)[:50])
            metadata = {}
            note = f"the metadata is too long to return; read one key with sessions_metadata_get: {keys}"
        facts = _session_record(summary)
        return _with_note(
            {"id": facts.pop("id"), "agent_id": summary.agent_id, **facts, "metadata": metadata},
            [note],
        )

    def clear(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Remove the messages of a session; in the session of the turn, only those before the turn."""
        session_id = self._session(context, arguments)
        before = self._turn_start(context) if session_id == context.session_id else None
        cleared = self.store.clear(session_id, before=before)
        return {"session_id": session_id, "messages_cleared": cleared, "status": "cleared"}

    def _turn_start(self, context: ToolContext) -> int:
        """Return the position of the first message of the calling turn, which must keep its user message."""
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
        """Delete a session."""
        session_id = self._session(context, arguments)
        if session_id == context.session_id:
            raise UsageError(
                "the session of this conversation cannot be deleted during a turn;"
                " sessions_clear removes its earlier messages, and the user can delete it afterwards"
            )
        self.store.delete(session_id)
        return {"session_id": session_id, "status": "deleted"}

    def metadata_set(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Set one value; create a missing session, except the turn's own, which was deleted by another program."""
        session_id = self._session(context, arguments)
        key = _text(arguments, "key", _MAX_KEY_CHARACTERS)
        value = _text(arguments, "value", MAX_VALUE_CHARACTERS, blank=True)
        if session_id == context.session_id:
            self.store.count_messages(session_id)
        self.store.set_metadata(session_id, key, parse_json_or_text(value))
        return {"session_id": session_id, "key": key, "status": "set"}

    def metadata_get(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return one value, or that it does not exist."""
        session_id = self._session(context, arguments)
        key = _text(arguments, "key", _MAX_KEY_CHARACTERS)
        try:
            value = self.store.get_metadata(session_id, key)
        except KeyNotFound:
            return {"session_id": session_id, "key": key, "exists": False}
        if (size := len(dump(value))) > MAX_RESULT_CHARACTERS:
            raise UsageError(f"the value of {key!r} is too long to return: {size} bytes of JSON")
        return {"session_id": session_id, "key": key, "value": value, "exists": True}

    def search(self, context: ToolContext, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the newest messages that contain every word."""
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
            ["there are more; only the newest are returned" if more else ""],
        )

    def _session(self, context: ToolContext, arguments: Mapping[str, Any]) -> str:
        """Return the requested session id if the scope permits it.

        Raises:
            UsageError: there is no id, or the session is outside the scope.
        """
        if self.scope == "current" and not context.session_id:
            raise UsageError(
                "this conversation has no session, and other sessions cannot be accessed"
            )
        session_id = _text(arguments, "session_id", 2048)
        if self.scope == "current" and session_id != context.session_id:
            raise UsageError(
                f"only the session of this conversation can be accessed: {context.session_id!r}"
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
    """Return the first records, as many as fit into one result."""
    room, kept = MAX_RESULT_CHARACTERS, []
    for record in records:
        room -= len(dump(record).decode())
        if room < 0:
            break
        kept.append(record)
    return kept


def _with_note(facts: dict[str, Any], notes: Sequence[str]) -> dict[str, Any]:
    """Add a note; without notes the result has exactly the documented keys."""
    text = "; ".join(note for note in notes if note)
    return {**facts, "note": text} if text else facts


def _text(arguments: Mapping[str, Any], name: str, longest: int, *, blank: bool = False) -> str:
    value = arguments.get(name)
    if value is None or (value == "" and not blank):
        raise UsageError(f"{name} is required")
    if not isinstance(value, str):
        raise UsageError(f"{name} must be text")
    if len(value) > longest:
        raise UsageError(f"{name} is too long: {len(value)} characters, at most {longest}")
    return value


def _limit(arguments: Mapping[str, Any], default: int, highest: int) -> int:
    """Return the requested limit, reduced to the highest one permitted."""
    limit = arguments.get("limit")
    if limit is None:
        return default
    if isinstance(limit, float) and limit.is_integer():
        limit = int(limit)  # JSON does not distinguish 5 from 5.0
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise UsageError(f"invalid limit {cut(repr(limit), 80)}: must be an integer, 0 or more")
    return min(limit, highest)
