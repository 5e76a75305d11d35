"""Where a turn is written down: in a session of a store, or nowhere for a stateless question."""

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
from omniagent_cli.models import Content, Message, detached
from omniagent_cli.stores.operations.append import WriteResult
from omniagent_cli.stores.store import SessionStore

T = TypeVar("T")

Attachments = Mapping[str, Mapping[str, Any]]
"""Records by SHA-256; see `SessionStore.attachment`."""


class Transcript(Protocol):
    """What a turn needs of the place where it is written down."""

    session_id: str
    notices: list[str]
    """What the person should know about where the words went; the turn hands them on."""

    async def begin(self, content: Content) -> None:
        """Write the question down, on disk, before anyone is asked."""
        ...

    async def history(self, window: Window) -> list[dict[str, Any]]:
        """Return what to send, the question last."""
        ...

    async def resolve_attachments(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return messages as they are sent: with the data of their attachments in them."""
        ...

    async def add(
        self, messages: list[Message], *, attachments: Attachments | None = None
    ) -> list[Message]:
        """Write finished messages down, with what they refer to, and return them as stored."""
        ...

    async def checkpoint(self, message: Message) -> Message:
        """Write down how far an answer has come and return it as stored."""
        ...

    async def finish(self, message: Message, *, model: str | None = None) -> Message:
        """Write the end of an answer down, with its own status, and return it as stored."""
        ...

    async def fail(self, status: str, error: str) -> None:
        """Mark the question as one that got no answer."""
        ...


class EphemeralTranscript:
    """A turn that is kept nowhere."""

    session_id = ""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._messages: list[Message] = []
        self._resolver = AttachmentResolver(lambda _: None)

    async def begin(self, content: Content) -> None:
        """Remember the question for this turn."""
        self._messages.append(Message("user", content))

    async def history(self, window: Window) -> list[dict[str, Any]]:
        """Return the turn so far."""
        return select_records(self._messages, window)

    async def resolve_attachments(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return messages with what was given with them."""
        sent, told = self._resolver.resolve(records)
        self.notices += told
        return sent

    async def add(
        self, messages: list[Message], *, attachments: Attachments | None = None
    ) -> list[Message]:
        """Remember messages for this turn."""
        del attachments
        self._messages.extend(messages)
        return messages

    async def checkpoint(self, message: Message) -> Message:
        """Nothing is kept."""
        return message

    async def finish(self, message: Message, *, model: str | None = None) -> Message:
        """Remember the answer for this turn."""
        del model
        self._messages.append(message)
        return message

    async def fail(self, status: str, error: str) -> None:
        """Nothing is kept."""


class SessionTranscript:
    """A turn in a session. The store is called in one worker thread, in order, so that nothing waits for it.

    A question that was asked before and got no answer, a failed one, is not written down twice.
    """

    def __init__(
        self,
        store: SessionStore,
        session_id: str,
        worker: Executor,
        *,
        agent_id: str = "",
        rollover: Rollover | None = None,
    ) -> None:
        self.session_id = session_id
        self.notices: list[str] = []
        self._store = store
        self._worker = worker
        self._agent_id = agent_id
        self._rollover = rollover or Rollover()
        self._size_reported = False
        self._resolver = AttachmentResolver(
            lambda sha256: store.attachment(self.session_id, sha256)
        )
        self._uid: str | None = None
        self._question: Message | None = None
        self._written: list[Message] = []

    async def begin(self, content: Content) -> None:
        """Write the question down, or find it again when it is a retry."""
        await self._in_order(lambda: self._begin(content))

    def _begin(self, given: Content) -> None:
        content, attachments = detached(given)
        repeated = self._unanswered(content)
        if repeated is not None:
            self._question = repeated
            self._uid = self._store.header(self.session_id).uid
            return
        if told := self._rollover.apply(self._store, self.session_id):
            self.notices.append(told)
        question = Message("user", content)
        written = self._store.write(
            self.session_id, question, agent_id=self._agent_id, attachments=attachments
        )
        self._follow(written)
        self._question = written.messages[0]

    def _unanswered(self, content: Content) -> Message | None:
        """Return the last question when it is this one and its turn ended without an answer."""
        try:
            last = self._store.messages(self.session_id, last=8)
        except SessionNotFound:
            return None
        asked = next((message for message in reversed(last) if message.role == "user"), None)
        if asked is None or asked.content != content:
            return None
        end = next(message for message in reversed(last) if message.turn_id == asked.turn_id)
        return asked if end.status != "complete" and not may_be_streaming(end) else None

    async def resume(self, turn_id: str | None) -> Message | None:
        """Go on with a turn instead of beginning one, and return the answer it had begun, if it had.

        Raises:
            UsageError: there is nothing to go on with.
        """

        def work() -> Message | None:
            turn = resumable_turn(self._store, self.session_id, turn_id)
            self._uid = self._store.header(self.session_id).uid
            self._question, *self._written = turn
            begun = ending(turn) not in (Ending.IN_TOOLS, Ending.UNANSWERED)
            return turn[-1] if begun else None

        return await self._in_order(work)

    async def history(self, window: Window) -> list[dict[str, Any]]:
        """Return the window of the session, this turn last."""
        return await self._in_order(lambda: self._history(window))

    def _history(self, window: Window) -> list[dict[str, Any]]:
        question = self._question
        summary = summary_of(self._store, self.session_id)
        if summary and question and summary.up_to >= (question.position or 0):
            summary = None  # none of ours: it would hide what is being asked
        # Half as many again, because what two writers interleaved is regrouped before it is cut.
        stored = self._store.messages(
            self.session_id,
            last=window.max_messages + window.max_messages // 2 + 8,
            after=summary.up_to if summary else None,
        )
        chosen = select_messages(self._with_turn(stored), window, summary)
        self._report_size(chosen, window)
        return chosen.records

    def _report_size(self, chosen: Selection, window: Window) -> None:
        """Say once in a turn what the budget of tokens is too small for."""
        if self._size_reported or not (chosen.oversized_tokens or chosen.omitted_summary_tokens):
            return
        self._size_reported = True
        limit = f"window.max_tokens ({window.max_tokens:,})"
        if chosen.oversized_tokens:
            self.notices.append(
                f"the last message alone is about {chosen.oversized_tokens:,} tokens, more than {limit};"
                " it is sent without what was said before"
            )
        else:
            self.notices.append(
                f"the summary of what was said before is about {chosen.omitted_summary_tokens:,} tokens, too many for {limit}"
                " beside the question; it is not sent"
            )

    def _with_turn(self, stored: list[Message]) -> list[Message]:
        """Return messages with this turn last."""
        question = self._question
        if question is None:
            return stored
        own = {message.id for message in self._written}
        turn = question.turn_id or question.id
        before = [m for m in stored if turn not in (m.turn_id, m.id) and m.id not in own]
        return [*before, question, *self._written]

    async def resolve_attachments(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return messages with their attachments, of which only those in the window are read."""
        sent, told = await self._in_order(lambda: self._resolver.resolve(records))
        self.notices += told
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
        """Replace the growing answer in place."""
        return await self._in_order(lambda: self._write_checkpoint(message, final=False))

    async def finish(self, message: Message, *, model: str | None = None) -> Message:
        """Replace the growing answer by its end; a model is pinned to a session that had none."""

        def work() -> Message:
            stored = self._write_checkpoint(message, final=True)
            self._written = [m for m in self._written if m.id != stored.id]  # one that went on
            self._written.append(stored)
            if message.status == "complete":
                self._clear_failure()
            if model and not self._store.header(self.session_id).model:
                self._store.set_model(self.session_id, model)
            return stored

        return await self._in_order(work)

    def _clear_failure(self) -> None:
        """Take back the mark of an earlier failure from the question."""
        question = self._question
        if question is not None and question.status != "complete":
            self._mark(question, "complete", None)
            question.status = "complete"

    def _mark(self, question: Message, status: str, error: str | None) -> None:
        """Mark the question where it stands; somebody may have removed it meanwhile, then there is nothing to mark."""
        place = question.position
        if place is None:
            return
        with suppress(SessionNotFound, InvalidRecord):
            standing = self._store.messages(self.session_id, after=place - 1, before=place + 1)
            if any(message.id == question.id for message in standing):
                self._store.set_message_status(self.session_id, place, status, {"error": error})

    def _write_checkpoint(self, message: Message, *, final: bool) -> Message:
        self._set_turn_id(message)
        written = self._store.checkpoint(self.session_id, message, uid=self._uid or "", final=final)
        self._follow(written)
        (stored,) = written.messages
        # Set here, in the worker: whoever waits may be cancelled, and must not store the answer twice.
        message.position, message.record = stored.position, stored.record
        return stored

    async def fail(self, status: str, error: str) -> None:
        """Mark the stored question, so that whoever looks sees what became of it."""
        question = self._question
        if question is not None:
            await self._in_order(lambda: self._mark(question, status, error))

    def _set_turn_id(self, message: Message) -> None:
        if self._question is not None and not message.turn_id:
            message.turn_id = self._question.turn_id

    def _follow(self, written: WriteResult) -> None:
        """Follow the session when it was renamed or had to be recovered."""
        if written.recovered:
            self.notices.append(
                f"the session {self.session_id} was deleted meanwhile; this answer is kept in {written.session_id}"
            )
        elif written.expired:
            self.notices.append(
                f"the session {self.session_id} had expired; its old messages are gone, this is a new start"
            )
        self.session_id, self._uid = written.session_id, written.uid

    async def _in_order(self, work: Callable[[], T]) -> T:
        """Call the store in the worker; being cancelled meanwhile waits for what became of it, then tells."""
        future = asyncio.get_running_loop().run_in_executor(self._worker, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise
