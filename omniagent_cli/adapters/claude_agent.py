"""Session store of the Claude Agent SDK over any store.

The protocol is ``claude_agent_sdk.SessionStore`` (checked with claude-agent-sdk 0.2.189). A transcript is one session.
Each entry is stored whole and returned equal; its text, tool calls and results become messages, so that listing,
search and exports see them. Entries that are not messages (titles, markers) are system messages without text.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote

from omniagent_cli.adapters.session_names import joined, quoted
from omniagent_cli.errors import InvalidRecord, SessionNotFound, StoreClosed, UsageError
from omniagent_cli.formats.readers.claude_code import line_records
from omniagent_cli.models import Message, SessionSummary, content_text
from omniagent_cli.serial_executor import SerialExecutor
from omniagent_cli.stores.aio import run_to_end

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

    from omniagent_cli.stores import SessionStore

ENTRY = "claude_agent_entry"
"""The key of the unchanged entry in the ``extra`` of its first message."""

ROOT = "claude-agent"
"""First part of the session ids: ``claude-agent/PROJECT/SESSION``, and ``/SUBPATH`` for a sub-agent."""

T = TypeVar("T")

_TITLES = (("customTitle", "user"), ("aiTitle", "auto"), ("summary", "auto"))


class _Transcript:
    """Facts about a stored transcript: the uuids of its entries up to a position."""

    def __init__(self, uid: str = "") -> None:
        self.uid = uid
        self.position = -1
        self.known: set[str] = set()

    def add(self, messages: Sequence[Message]) -> None:
        self.known.update(
            entry["uuid"] for entry in _entries(messages) if isinstance(entry.get("uuid"), str)
        )
        if messages:
            self.position = messages[-1].position or 0


class ClaudeSessionStore:
    """A store for ``ClaudeAgentOptions(session_store=...)``.

    Calls of one object run in order. An entry whose uuid is stored already is ignored, so that the SDK may repeat a
    batch. Deleted transcripts go to the trash. Transcripts of sub-agents are archived sessions.

    Args:
        store: the store; the caller closes it. Its time to live applies to the transcripts.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._transcripts: dict[str, _Transcript] = {}
        self._worker = SerialExecutor("omniagent-claude")
        self._end = weakref.finalize(self, self._worker.shutdown, wait=False)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Append entries, all or none.

        Raises:
            InvalidRecord: an entry is not a JSON object.
        """
        session_id = session_id_of(key)
        await self._call(lambda: self._append(session_id, "subpath" in key, entries))

    def _append(self, session_id: str, is_sub: bool, entries: Sequence[Any]) -> None:  # noqa: FBT001
        transcript = self._refreshed(session_id)
        fresh: dict[object, Mapping[str, Any]] = {}
        for number, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise InvalidRecord("an entry must be a JSON object")
            uuid = entry.get("uuid")
            if not (isinstance(uuid, str) and uuid in transcript.known):
                fresh.setdefault(uuid if isinstance(uuid, str) else number, entry)
        messages = [message for entry in fresh.values() for message in to_messages(entry)]
        if not messages:
            return
        if is_sub and not transcript.uid:
            self._store.set_metadata(session_id, "archived", value=True)
        written = self._store.write(session_id, messages, origin=_origin(fresh.values()))
        if written.uid != transcript.uid:
            transcript = self._transcripts[session_id] = _Transcript(written.uid)
        transcript.add(written.messages)
        for field, source in _TITLES:
            titles = [e[field] for e in fresh.values() if isinstance(e.get(field), str)]
            if titles and titles[-1].strip():
                self._store.set_title(session_id, " ".join(titles[-1].split()), source=source)

    def _refreshed(self, session_id: str) -> _Transcript:
        """Return the facts about a transcript, with the entries that others have added."""
        transcript = self._transcripts.setdefault(session_id, _Transcript())
        try:
            transcript.add(self._store.messages(session_id, after=transcript.position))
        except SessionNotFound:
            transcript = self._transcripts[session_id] = _Transcript()
        return transcript

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """Return all entries of a transcript; None if it does not exist."""
        session_id = session_id_of(key)

        def load() -> list[dict[str, Any]] | None:
            try:
                return list(_entries(self._store.messages(session_id)))
            except SessionNotFound:
                return None

        return cast("list[SessionStoreEntry] | None", await self._call(load))

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """Return the sessions of a project with their times of the last activity, in Unix milliseconds."""
        found = await self._call(lambda: list(self._sessions(project_key)))
        return [{"session_id": name, "mtime": _milliseconds(one)} for name, one in found]

    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """Return the SDK's summaries of the sessions of a project, which are made of their entries.

        Raises:
            UsageError: the SDK is not installed.
        """
        try:
            from claude_agent_sdk import fold_session_summary
        except ImportError as error:
            raise UsageError(
                "summaries need the Claude Agent SDK; install it with: pip install 'omniagent-cli[claude-agent]'"
            ) from error

        def summaries() -> list[SessionSummaryEntry]:
            found = []
            for name, one in self._sessions(project_key):
                key: SessionKey = {"project_key": project_key, "session_id": name}
                entries = list(_entries(self._store.iter_messages(one.id)))
                summary = fold_session_summary(None, key, cast("list[SessionStoreEntry]", entries))
                found.append(cast("SessionSummaryEntry", {**summary, "mtime": _milliseconds(one)}))
            return found

        return await self._call(summaries)

    def _sessions(self, project_key: str) -> Iterator[tuple[str, SessionSummary]]:
        prefix = joined(ROOT, project_key) + "/"
        for summary in self._store.list(prefix=prefix, archived=None):
            name = summary.id.removeprefix(prefix)
            if "/" not in name and summary.message_count:
                yield unquote(name), summary

    async def delete(self, key: SessionKey) -> None:
        """Move a transcript to the trash; without a subpath, those of its sub-agents too."""
        session_id = session_id_of(key)

        def delete() -> None:
            below = [] if "subpath" in key else self._below(session_id)
            for one in [*below, session_id]:
                self._store.delete(one)
                self._transcripts.pop(one, None)

        await self._call(delete)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """Return the subpaths of a session."""
        session_id = session_id_of(cast("SessionKey", key))
        found = await self._call(lambda: self._below(session_id))
        return [unquote(one.removeprefix(f"{session_id}/")) for one in found]

    def _below(self, session_id: str) -> list[str]:
        listed = self._store.list(prefix=f"{session_id}/", archived=None, sort="id")
        return [summary.id for summary in listed]

    def close(self) -> None:
        """End the worker thread; the store stays open. Garbage collection does the same."""
        self._end()

    async def _call(self, work: Callable[[], T]) -> T:
        if not self._end.alive:
            raise StoreClosed("this session store is closed; create another")
        return await run_to_end(work, self._worker)


def session_id_of(key: SessionKey) -> str:
    """Return the id of a transcript's session in the store."""
    session_id = joined(ROOT, key["project_key"], key["session_id"])
    subpath = key.get("subpath")
    return f"{session_id}/{quoted(subpath, '/')}" if subpath else session_id


def to_messages(entry: Mapping[str, Any]) -> list[Message]:
    """Return the messages of an entry; the first one keeps the entry."""
    own = dict(entry)
    uuid = own.get("uuid")
    records = line_records(own, str(own.get("type")), uuid if isinstance(uuid, str) else "")
    try:
        messages = [Message.from_record(_shown(one)) for one in records if "role" in one]
    except InvalidRecord:  # of a version with another shape; the entry itself is kept in any case
        messages = []
    messages = messages or [Message("system", _note(own))]
    messages[0].extra = {**(messages[0].extra or {}), ENTRY: own}
    return messages


def _shown(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without pictures and files, which the entry has, and without an empty id."""
    own = {key: value for key, value in record.items() if key != "id" or value}
    return {**own, "content": content_text(own["content"])}


def _note(entry: Mapping[str, Any]) -> str:
    """Return the text of an entry that is not a message: of a program message or a summary."""
    for value in (entry.get("content"), entry.get("summary")):
        if isinstance(value, str):
            return value
    message = entry.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "\n".join(text for text in parts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _entries(messages: Sequence[Message] | Iterator[Message]) -> Iterator[dict[str, Any]]:
    for message in messages:
        entry = (message.extra or {}).get(ENTRY)
        if isinstance(entry, dict):
            yield entry


def _origin(entries: Any) -> dict[str, Any]:
    """Return the directory and branch of the first entry that names them."""
    origin: dict[str, Any] = {"program": "claude-agent-sdk"}
    for entry in entries:
        for name, field in (("cwd", "cwd"), ("git_branch", "gitBranch")):
            if isinstance(entry.get(field), str) and entry[field]:
                origin.setdefault(name, entry[field])
    return origin


def _milliseconds(summary: SessionSummary) -> int:
    return int(summary.updated_at.timestamp() * 1000)
