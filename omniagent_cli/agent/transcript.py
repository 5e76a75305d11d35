"""Transcripts: the storage of a turn's messages, in a session or, for a stateless turn, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from omniagent_cli.agent.context.attachments import AttachmentResolver
from omniagent_cli.agent.context.rollover import Rollover
from omniagent_cli.agent.context.summary import summary_of
from omniagent_cli.agent.context.window import Selection, Window, select_messages, select_records
from omniagent_cli.agent.resume import Ending, ending, may_be_streaming, resumable_turn
from omniagent_cli.errors import InvalidRecord, SessionNotFound
from omniagent_cli.json_format import clone
from omniagent_cli.models import Content, Message, detached
from omniagent_cli.stores.operations.append import WriteResult
from omniagent_cli.stores.store import SessionStore

T = TypeVar("T")

Attachments = Mapping[str, Mapping[str, Any]]
"""Attachment records by SHA-256; see `SessionStore.attachment`."""


class Transcript(Protocol):
    """The interface a turn uses to store and read messages."""

    session_id: str
    notices: list[str]
    """Notices for the user about the storage of the turn; the turn yields them."""

    async def begin(self, content: Content, metadata: Mapping[str, Any] | None = None) -> None:
        """Store the user's message, with metadata, durably before the model is called."""
        ...

    async def history(self, window: Window) -> list[dict[str, Any]]:
        """Return the messages to send, the current turn last."""
        ...

    async def resolve_attachments(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages with the data of their attachments inlined."""
        ...

    async def add(
        self, messages: list[Message], *, attachments: Attachments | None = None
    ) -> list[Message]:
        """Store complete messages and the attachments they refer to; return them as stored."""
        ...

    async def checkpoint(self, message: Message) -> Message:
        """Store the current state of a streaming answer and return it as stored."""
        ...

    async def finish(self, message: Message, *, model: str | None = None) -> Message:
        """Store the final answer with its own status and return it as stored."""
        ...

    async def fail(self, status: str, error: str) -> None:
        """Mark the user's message as unanswered."""
        ...


def user_message(content: Content, metadata: Mapping[str, Any] | None) -> Message:
    """Return the user's message; the model does not get its metadata.

    Raises:
        InvalidRecord: the metadata is not JSON data.
    """
    return Message("user", content, metadata=clone(dict(metadata)) if metadata else None)


class EphemeralTranscript:
    """An in-memory transcript of a stateless turn."""

    session_id = ""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._messages: list[Message] = []
        self._resolver = AttachmentResolver(lambda _: None)

    async def begin(self, content: Content, metadata: Mapping[str, Any] | None = None) -> None:
        """Add the user's message."""
        self._messages.append(user_message(content, metadata))

    async def history(self, window: Window) -> list[dict[str, Any]]:
        """Return the messages of the turn."""
        return select_records(self._messages, window)

    async def resolve_attachments(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages with their attachments inlined."""
        sent, notices = self._resolver.resolve(records)
        self.notices += notices
        return sent

    async def add(
        self, messages: list[Message], *, attachments: Attachments | None = None
    ) -> list[Message]:
        """Add messages."""
        del attachments
        self._messages.extend(messages)
        return messages

    async def checkpoint(self, message: Message) -> Message:
        """Return the message unchanged; nothing is stored."""
        return message

    async def finish(self, message: Message, *, model: str | None = None) -> Message:
        """Add the answer."""
        del model
        self._messages.append(message)
        return message

    async def fail(self, status: str, error: str) -> None:
        """Do nothing; nothing is stored."""


class SessionTranscript:
    """A turn in a session. The store is called in one worker thread, in order, so that the event loop never blocks.

    Sending an unanswered message again, after a failure, does not store it twice.
    """

    def __init__(
        self,
        store: SessionStore,
        session_id: str,
        worker: Executor,
        *,
        agent_id: str = "",
        origin: Mapping[str, Any] | None = None,
        rollover: Rollover | None = None,
    ) -> None:
        self.session_id = session_id
        self.notices: list[str] = []
        self._store = store
        self._worker = worker
        self._agent_id = agent_id
        self._origin = origin
        self._rollover = rollover or Rollover()
        self._size_reported = False
        self._resolver = AttachmentResolver(
            lambda sha256: store.attachment(self.session_id, sha256)
        )
        self._uid: str | None = None
        self._question: Message | None = None
        self._written: list[Message] = []

    async def begin(self, content: Content, metadata: Mapping[str, Any] | None = None) -> None:
        """Store the user's message, or find the stored one if this is a retry."""
        await self._in_order(lambda: self._begin(content, metadata))

    def _begin(self, inline_content: Content, metadata: Mapping[str, Any] | None) -> None:
        content, attachments = detached(inline_content)
        repeated = self._unanswered(content)
        if repeated is not None:
            self._question = repeated
            self._uid = self._store.header(self.session_id).uid
            return
        if notice := self._rollover.apply(self._store, self.session_id):
            self.notices.append(notice)
        question = user_message(content, metadata)
        written = self._store.write(
            self.session_id,
            question,
            agent_id=self._agent_id,
            origin=self._origin,
            attachments=attachments,
        )
        self._follow(written)
        self._question = written.messages[0]

    def _unanswered(self, content: Content) -> Message | None:
        """Return the last user message if it has this content and its turn ended without an answer."""
        try:
            last = self._store.messages(self.session_id, last=8)
        except SessionNotFound:
            return None
        question = next((message for message in reversed(last) if message.role == "user"), None)
        if question is None or question.content != content:
            return None
        end = next(message for message in reversed(last) if message.turn_id == question.turn_id)
        return question if end.status != "complete" and not may_be_streaming(end) else None

    async def resume(self, turn_id: str | None) -> Message | None:
        """Load an unfinished turn for resuming; return its partial answer, or None.

        Raises:
            UsageError: there is nothing to continue.
        """

        def work() -> Message | None:
            turn = resumable_turn(self._store, self.session_id, turn_id)
            self._uid = self._store.header(self.session_id).uid
            self._question, *self._written = turn
            has_answer = ending(turn) not in (Ending.IN_TOOLS, Ending.UNANSWERED)
            return turn[-1] if has_answer else None

        return await self._in_order(work)

    async def history(self, window: Window) -> list[dict[str, Any]]:
        """Return the window of the session, the current turn last."""
        return await self._in_order(lambda: self._history(window))

    def _history(self, window: Window) -> list[dict[str, Any]]:
        question = self._question
        summary = summary_of(self._store, self.session_id)
        if summary and question and summary.up_to >= (question.position or 0):
            summary = None  # covers the message of this turn, which has to be sent
        # More than the window holds, because interleaved turns are regrouped before the window is applied.
        stored = self._store.messages(
            self.session_id,
            last=window.max_messages + window.max_messages // 2 + 8,
            after=summary.up_to if summary else None,
        )
        chosen = select_messages(self._with_turn(stored), window, summary)
        self._report_size(chosen, window)
        return chosen.records

    def _report_size(self, chosen: Selection, window: Window) -> None:
        """Add a notice, once per turn, if the token budget is too small for the message or the summary."""
        if self._size_reported or not (chosen.oversized_tokens or chosen.omitted_summary_tokens):
            return
        self._size_reported = True
        limit = f"window.max_tokens ({window.max_tokens:,})"
        if chosen.oversized_tokens:
            self.notices.append(
                f"The last message alone is about {chosen.oversized_tokens:,} tokens, more than {limit};"
                " it is sent without earlier messages"
            )
        else:
            self.notices.append(
                f"The summary of earlier messages is about {chosen.omitted_summary_tokens:,} tokens and does not fit"
                f" into {limit} with this message; it is not sent"
            )

    def _with_turn(self, stored: list[Message]) -> list[Message]:
        """Return messages with the current turn last."""
        question = self._question
        if question is None:
            return stored
        own = {message.id for message in self._written}
        turn = question.turn_id or question.id
        before = [m for m in stored if turn not in (m.turn_id, m.id) and m.id not in own]
        return [*before, question, *self._written]

    async def resolve_attachments(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the messages with their attachments inlined; only those in the window are read."""
        sent, notices = await self._in_order(lambda: self._resolver.resolve(records))
        self.notices += notices
        return sent

    async def add(
        self, messages: list[Message], *, attachments: Attachments | None = None
    ) -> list[Message]:
        """Append messages to the turn."""

        def work() -> list[Message]:
            for message in messages:
                self._set_turn_id(message)
            written = self._store.write(
                self.session_id, messages, uid=self._uid, attachments=attachments
            )
            self._follow(written)
            self._written.extend(written.messages)
            return written.messages

        return await self._in_order(work)

    async def checkpoint(self, message: Message) -> Message:
        """Replace the stored partial answer in place."""
        return await self._in_order(lambda: self._write_checkpoint(message, final=False))

    async def finish(self, message: Message, *, model: str | None = None) -> Message:
        """Replace the partial answer by the final one; set the session's model if it has none."""

        def work() -> Message:
            stored = self._write_checkpoint(message, final=True)
            self._written = [m for m in self._written if m.id != stored.id]  # a continued answer
            self._written.append(stored)
            if message.status == "complete":
                self._clear_failure()
            if model and not self._store.header(self.session_id).model:
                self._store.set_model(self.session_id, model)
            return stored

        return await self._in_order(work)

    def _clear_failure(self) -> None:
        """Remove the mark of an earlier failure from the user's message."""
        question = self._question
        if question is not None and question.status != "complete":
            self._mark(question, "complete", None)
            question.status = "complete"

    def _mark(self, question: Message, status: str, error: str | None) -> None:
        """Set the status of the user's message; do nothing if it was removed by another program."""
        position = question.position
        if position is None:
            return
        with suppress(SessionNotFound, InvalidRecord):
            stored = self._store.messages(self.session_id, after=position - 1, before=position + 1)
            if any(message.id == question.id for message in stored):
                self._store.set_message_status(self.session_id, position, status, {"error": error})

    def _write_checkpoint(self, message: Message, *, final: bool) -> Message:
        self._set_turn_id(message)
        written = self._store.checkpoint(self.session_id, message, uid=self._uid or "", final=final)
        self._follow(written)
        (stored,) = written.messages
        # Set in the worker, because a cancelled caller must not store the answer a second time.
        message.position, message.record = stored.position, stored.record
        return stored

    async def fail(self, status: str, error: str) -> None:
        """Mark the stored user message with the status and the error."""
        question = self._question
        if question is not None:
            await self._in_order(lambda: self._mark(question, status, error))

    def _set_turn_id(self, message: Message) -> None:
        if self._question is not None and not message.turn_id:
            message.turn_id = self._question.turn_id

    def _follow(self, written: WriteResult) -> None:
        """Follow the session if it was renamed or recovered."""
        if written.recovered:
            self.notices.append(
                f"The session {self.session_id} was deleted during the turn; the turn is saved in {written.session_id}"
            )
        elif written.expired:
            self.notices.append(
                f"The session {self.session_id} had expired; its messages were removed and a new session started"
            )
        self.session_id, self._uid = written.session_id, written.uid

    async def _in_order(self, work: Callable[[], T]) -> T:
        """Call the store in the worker; a cancellation waits for the result of the call and is then re-raised."""
        future = asyncio.get_running_loop().run_in_executor(self._worker, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
