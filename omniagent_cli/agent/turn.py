"""One turn: call the model and run its tool calls until it answers; every message is stored as it arrives.

A turn that fails or is interrupted keeps its messages. If text has arrived, the partial answer is stored with the
status ``failed`` or ``interrupted`` and the error in ``extra``; otherwise the user's message gets them. ``/retry`` moves the
answer to the trash and sends the stored question; the same question sent again reuses it unless tools have run
(`Transcript.begin`); ``/continue`` extends the answer (`resume`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, cast

from omniagent_cli.agent import resume
from omniagent_cli.agent.context.attachments import explain_refusal
from omniagent_cli.agent.context.compaction import SHORTER_QUESTION
from omniagent_cli.agent.context.window import Window
from omniagent_cli.agent.events import (
    Engine,
    Finished,
    ModelSettings,
    Notice,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolEnded,
    ToolReturned,
    TurnDone,
    TurnEvent,
)
from omniagent_cli.agent.loop_thread import refuse_at_exit
from omniagent_cli.agent.tools.tool import Outcome, Toolbox
from omniagent_cli.agent.tools.tool_results import FULL_OUTPUT
from omniagent_cli.agent.transcript import Transcript
from omniagent_cli.errors import (
    ContextLengthExceeded,
    ModelError,
    ModelUnreachable,
    OmniAgentError,
    ToolRoundsExceeded,
)
from omniagent_cli.models import Content, Message, ToolCall

CHECKPOINT_SECONDS = 1.0
"""The interval of checkpoints of a streaming answer: the most that a power failure can lose."""

MAX_TOOL_ROUNDS = 25

_STOP_NOTICES = {
    "length": "The answer was cut at the model's token limit; ask it to continue, or raise agent.max_tokens",
    "content_filter": "The provider's content filter stopped the answer; rephrase the message, or choose another model",
}


@dataclass(slots=True)
class Turn:
    """The state and dependencies of one turn."""

    engine: Engine
    transcript: Transcript
    toolbox: Toolbox
    system_prompt: str = ""
    settings: ModelSettings = field(default_factory=ModelSettings)
    window: Window = field(default_factory=Window)
    max_tool_rounds: int = MAX_TOOL_ROUNDS
    usage: Counter[str] = field(default_factory=Counter)
    partial: Message | None = None
    prepare: Callable[[str], AsyncGenerator[TurnEvent, None]] | None = None
    """Called with the session id after the message is stored, before the model is called."""
    shorten: Callable[[str, ContextLengthExceeded], AsyncGenerator[TurnEvent, None]] | None = None
    """Called if the request is too long: compacts the session, or raises the error with a hint."""

    async def run(
        self, content: Content | None, metadata: Mapping[str, Any] | None = None
    ) -> AsyncGenerator[TurnEvent, None]:
        """Run the turn. With content=None, resume the turn loaded into the transcript, starting from `partial`.

        Args:
            content: the user's message.
            metadata: metadata stored with it.

        Raises:
            ModelError: the request failed; the message and the partial answer are stored.
            ToolRoundsExceeded: the limit of tool rounds was reached; the messages up to then are stored.
            StoreError: a message could not be stored.
        """
        with refuse_at_exit():
            async with aclosing(self._run(content, metadata)) as events:
                async for event in events:
                    yield event

    async def _run(
        self, content: Content | None, metadata: Mapping[str, Any] | None
    ) -> AsyncGenerator[TurnEvent, None]:
        if content is not None:
            await self.transcript.begin(content, metadata)
        for notice in self._notices():
            yield notice
        for text in await self._open_tools():
            yield Notice(text)
        async with aclosing(self._prepared()) as prepared:
            async for preparation in prepared:
                yield preparation
        for _ in range(self.max_tool_rounds + 1):
            calls: Sequence[ToolCall] = ()
            async with aclosing(self._call_model()) as events:
                async for event in events:
                    if isinstance(event, Message):
                        calls = event.tool_calls or ()
                        if not calls:
                            yield TurnDone(event, self.transcript.session_id, dict(self.usage))
                            return
                    else:
                        yield event
            async with aclosing(self._run_tools(calls)) as results:
                async for result in results:
                    yield result
        raise ToolRoundsExceeded(
            f"the model called tools for more than {self.max_tool_rounds} rounds; the turn is saved, continue it"
            " or raise agent.max_tool_rounds"
        )

    async def _prepared(self) -> AsyncGenerator[TurnEvent, None]:
        if self.prepare is None:
            return
        try:
            async with aclosing(self.prepare(self.transcript.session_id)) as events:
                async for event in events:
                    yield event
        except (asyncio.CancelledError, GeneratorExit):
            if self.partial is None:
                await self.transcript.fail("interrupted", "interrupted")
            raise

    def _notices(self) -> list[Notice]:
        notices = [Notice(text) for text in self.transcript.notices]
        self.transcript.notices.clear()
        return notices

    async def _open_tools(self) -> Sequence[str]:
        """Load the tools, which may start servers, and return the notices."""
        try:
            return await self.toolbox.open()
        except (asyncio.CancelledError, OmniAgentError) as error:
            stopped = isinstance(error, asyncio.CancelledError)
            if self.partial is None:
                status, reason = ("interrupted",) * 2 if stopped else ("failed", str(error))
                await self.transcript.fail(status, reason)
            raise

    async def _call_model(self) -> AsyncGenerator[TurnEvent | Message, None]:
        """Call the model once; the last item yielded is the stored answer."""
        partial, self.partial = self.partial, None
        answer = _StreamingAnswer(self.transcript, self.engine, partial)
        finished: Finished | None = None
        records: list[dict[str, Any]] = []
        try:
            async with aclosing(self._request(records, resuming=partial is not None)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        finished = event
                    else:
                        if isinstance(event, TextDelta):
                            await answer.add(event.text)
                        yield event
            if finished is None or not finished.reason:
                raise ModelUnreachable(
                    f"{self.engine.name} stopped in the middle of its answer; the partial answer is saved, ask again to retry"
                )
        except ModelError as error:
            explained = explain_refusal(error, records, self.engine.name)
            await answer.abort("failed", str(explained))
            if explained is error:
                raise
            raise explained from error
        except (asyncio.CancelledError, GeneratorExit):
            await answer.abort("interrupted", "interrupted")
            raise
        message = await answer.complete(finished)
        self.usage.update({key: n for key, n in finished.usage.items() if isinstance(n, int)})
        for notice in self._notices():
            yield notice
        if finished.reason in _STOP_NOTICES:
            yield Notice(_STOP_NOTICES[finished.reason])
        elif not message.text and not message.tool_calls:
            yield Notice("The model returned an empty answer; ask again, or choose another model")
        yield message

    async def _request(
        self, records: list[dict[str, Any]], *, resuming: bool
    ) -> AsyncGenerator[TurnEvent | Finished, None]:
        """Send a request; if it is too long, compact the session and send it once more.

        Args:
            records: filled with the messages that are sent.
            resuming: the last of them is a partial answer to continue.
        """
        refused: ContextLengthExceeded | None = None
        started = False
        for _ in range(2):
            if refused is not None and self.shorten is not None:
                async with aclosing(self.shorten(self.transcript.session_id, refused)) as notices:
                    async for notice in notices:
                        yield notice
            records[:] = await self._records(resuming=resuming)
            for notice in self._notices():
                yield notice
            try:
                stream = self.engine.stream(records, self.toolbox.definitions(), self.settings)
                async with aclosing(cast("Any", stream)) as events:
                    async for event in events:
                        started = started or isinstance(event, TextDelta | ThinkingDelta)
                        yield event
            except ContextLengthExceeded as error:
                if started:
                    raise error.with_hint("compact the session, and ask again") from error
                if refused is not None or self.shorten is None:
                    raise error.with_hint(SHORTER_QUESTION) from error
                refused = error
            else:
                return

    async def _records(self, *, resuming: bool) -> list[dict[str, Any]]:
        """Return the messages to send."""
        records = await self.transcript.resolve_attachments(
            await self.transcript.history(self.window)
        )
        if self.system_prompt:
            records.insert(0, {"role": "system", "content": self.system_prompt})
        if resuming:
            records.append(resume.instruction())
        return records

    async def _run_tools(self, calls: Sequence[ToolCall]) -> AsyncGenerator[TurnEvent, None]:
        """Run the tool calls of one response concurrently and store their results in order."""
        for call in calls:
            yield ToolCalled(call)
        tasks = {asyncio.create_task(self.toolbox.run(call)): call for call in calls}
        try:
            running = set(tasks)
            while running:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended if running else ():
                    outcome = task.result()
                    yield ToolEnded(tasks[task], outcome.text, outcome.failed, outcome.denied_by)
            outcomes = [task.result() for task in tasks]
        except (
            BaseException
        ):  # also an error of the caller's `approve`: every call is cancelled and gets a result
            for task in tasks:
                task.cancel()
            outcomes = [
                o if isinstance(o, Outcome) else Outcome("(interrupted)", failed=True)
                for o in await asyncio.gather(*tasks, return_exceptions=True)
            ]
            await self._store_results(calls, outcomes)
            raise
        stored = await self._store_results(calls, outcomes)
        for notice in self._notices():
            yield notice
        for call, message, outcome in zip(calls, stored, outcomes, strict=True):
            yield ToolReturned(call, message, outcome.failed, outcome.denied_by)

    async def _store_results(
        self, calls: Sequence[ToolCall], outcomes: Sequence[Outcome]
    ) -> list[Message]:
        pairs = list(zip(calls, outcomes, strict=True))
        full_outputs = {
            outcome.full_output.sha256: outcome.full_output.record(call["function"]["name"])
            for call, outcome in pairs
            if outcome.full_output is not None
        }
        return await self.transcript.add(
            [_result(*pair) for pair in pairs], attachments=full_outputs
        )


def _result(call: ToolCall, outcome: Outcome) -> Message:
    extra: dict[str, Any] = {}
    if outcome.failed:
        extra["failed"] = True
    if outcome.approved is not None:
        extra["approved"] = outcome.approved
        extra["approved_by"] = outcome.approved_by
    if outcome.full_output is not None:
        extra[FULL_OUTPUT] = outcome.full_output.reference()
    return Message(
        "tool",
        outcome.text,
        tool_call_id=call.get("id", ""),
        name=call["function"]["name"],
        extra=extra or None,
    )


class _StreamingAnswer:
    """An answer while it streams: stored at its first piece and then every `CHECKPOINT_SECONDS`."""

    def __init__(
        self, transcript: Transcript, engine: Engine, partial: Message | None = None
    ) -> None:
        self._transcript = transcript
        self._engine = engine
        self._pins_sessions = getattr(engine, "pins_sessions", True)
        model = engine.name
        new = Message("assistant", "", model=model)
        self._message = new if partial is None else resume.resumed_answer(partial, model)
        self._resumed = partial is not None
        self._start = self._message.text
        self._pieces: list[str] = []
        self._dirty = False
        self._ticker: asyncio.Task[None] | None = None

    async def add(self, text: str) -> None:
        """Add a piece of text; checkpoints run in a task of their own, so that a stalled stream loses nothing."""
        self._pieces.append(text)
        self._dirty = True
        if self._ticker is None:
            self._set_model()
            await self._checkpoint()
            self._ticker = asyncio.create_task(self._checkpoint_periodically())
        elif self._ticker.done():
            self._ticker.result()

    def _set_model(self) -> None:
        """Record the model that answers: an automatic choice changes when its provider lacks the model."""
        name = self._engine.name
        if self._resumed:
            (self._message.extra or {})["continued"][-1]["model"] = name
        else:
            self._message.model = name

    async def _checkpoint_periodically(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            if self._dirty:
                await self._checkpoint()

    async def _checkpoint(self) -> None:
        self._dirty = False
        self._message.content = self._start + "".join(self._pieces)
        await self._transcript.checkpoint(self._message)

    async def _stop(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])

    async def complete(self, finished: Finished) -> Message:
        """Store the complete answer."""
        await self._stop()
        self._set_model()
        message = self._message
        message.content = self._start + (finished.text or "".join(self._pieces))
        message.tool_calls = list(finished.tool_calls) or None
        message.usage = resume.add_usage(message.usage, finished.usage) or None
        extra: Mapping[str, Any] = {**(message.extra or {}), **finished.extra}
        if finished.reason not in ("stop", "tool_calls"):
            extra = {**extra, "finish_reason": finished.reason}
        message.extra = dict(extra) or None
        message.status = "complete"
        if finished.model and finished.model != self._message.model:
            message.extra = {**(message.extra or {}), "answered_as": finished.model}
        model = message.model if self._pins_sessions else None
        return await self._transcript.finish(message, model=model)

    async def abort(self, status: str, error: str) -> None:
        """Store the partial answer with its error; if there is no text, mark the user's message instead."""
        await self._stop()
        text = "".join(self._pieces)
        if not text:
            if not self._start:  # else the earlier partial answer is stored already
                await self._transcript.fail(status, error)
            return
        self._message.content = self._start + text
        self._message.status = status
        self._message.extra = {**(self._message.extra or {}), "error": error}
        await self._transcript.finish(self._message)
