"""One turn: ask the model, run the tools it calls, until it answers; everything written down as it happens."""

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
"""At most that much of a streaming answer can be lost when the machine goes away."""

MAX_TOOL_ROUNDS = 25

_STOP_NOTICES = {
    "length": "the answer was cut at the model's token limit; ask it to go on, or allow more with agent.max_tokens",
    "content_filter": "the provider's content filter stopped the answer; ask in other words, or choose another model",
}


@dataclass(slots=True)
class Turn:
    """Everything one turn works with."""

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
    """Called with the session's id when the question is stored, before the model is asked."""
    shorten: Callable[[str, ContextLengthExceeded], AsyncGenerator[TurnEvent, None]] | None = None
    """Called when the request is too long: compacts the session, or raises the refusal with what to do."""

    async def run(self, content: Content | None) -> AsyncGenerator[TurnEvent, None]:
        """Take a question to its answer; None goes on with the turn its transcript has taken up, from `partial`.

        Raises:
            ModelError: the model did not answer; the question, and what came, are stored.
            ToolRoundsExceeded: it kept calling tools; everything so far is stored.
            StoreError: something could not be written down.
        """
        if content is not None:
            await self.transcript.begin(content)
        for notice in self._notices():
            yield notice
        for text in await self._open_tools():
            yield Notice(text)
        async with aclosing(self._prepared()) as prepared:
            async for told in prepared:
                yield told
        for _ in range(self.max_tool_rounds + 1):
            calls: Sequence[ToolCall] = ()
            async with aclosing(self._ask()) as events:
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
            f"the model called tools for more than {self.max_tool_rounds} rounds; what it did so far is kept,"
            " ask it to go on or raise agent.max_tool_rounds"
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
        told, self.transcript.notices[:] = [Notice(text) for text in self.transcript.notices], []
        return told

    async def _open_tools(self) -> Sequence[str]:
        """Find out what is offered, which may start servers; return what the person should know about it."""
        try:
            return await self.toolbox.open()
        except (asyncio.CancelledError, OmniAgentError) as error:
            stopped = isinstance(error, asyncio.CancelledError)
            if self.partial is None:
                what = ("interrupted", "interrupted") if stopped else ("failed", str(error))
                await self.transcript.fail(*what)
            raise

    async def _ask(self) -> AsyncGenerator[TurnEvent | Message, None]:
        """Ask once; the last thing yielded is the stored answer."""
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
                    f"{self.engine.name} stopped in the middle of its answer; what came is kept, ask again to retry"
                )
        except ModelError as error:
            told = explain_refusal(error, records, self.engine.name)
            await answer.abort("failed", str(told))
            if told is error:
                raise
            raise told from error
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
            yield Notice("the model gave an empty answer; ask again, or choose another model")
        yield message

    async def _request(
        self, records: list[dict[str, Any]], *, resuming: bool
    ) -> AsyncGenerator[TurnEvent | Finished, None]:
        """Send a request; one that is too long is sent once more when the session was compacted.

        Args:
            records: filled with the messages that are sent.
            resuming: the last of them is a partial answer to continue.
        """
        refused: ContextLengthExceeded | None = None
        began = False
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
                        began = began or isinstance(event, TextDelta | ThinkingDelta)
                        yield event
            except ContextLengthExceeded as error:
                if began:
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
        """Run the calls of one answer side by side and store their results in order."""
        for call in calls:
            yield ToolCalled(call)
        tasks = {asyncio.create_task(self.toolbox.run(call)): call for call in calls}
        try:
            running = set(tasks)
            while running:
                ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in ended if running else ():
                    yield ToolEnded(tasks[task], task.result().text, failed=task.result().failed)
            outcomes = [task.result() for task in tasks]
        except (
            BaseException
        ):  # also what a program's `approve` raises: no call goes on unseen, none without a result
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
            yield ToolReturned(call, message, failed=outcome.failed)

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
    """The answer while it streams: kept on disk at its first piece and then every `CHECKPOINT_SECONDS`."""

    def __init__(
        self, transcript: Transcript, engine: Engine, partial: Message | None = None
    ) -> None:
        self._transcript = transcript
        self._engine = engine
        self._pins_sessions = getattr(engine, "pins_sessions", True)
        model = engine.name
        begun = Message("assistant", "", model=model)
        self._message = begun if partial is None else resume.resumed_answer(partial, model)
        self._resumed = partial is not None
        self._start = self._message.text
        self._pieces: list[str] = []
        self._dirty = False
        self._ticker: asyncio.Task[None] | None = None

    async def add(self, text: str) -> None:
        """Take a piece; the clock that keeps it runs beside the stream, so that a stall loses nothing."""
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
        """Store the whole answer."""
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
        """Store what there is of an answer that ends early; without any text, mark the question."""
        await self._stop()
        text = "".join(self._pieces)
        if not text:
            if not self._start:  # else it is stored as it was
                await self._transcript.fail(status, error)
            return
        self._message.content = self._start + text
        self._message.status = status
        self._message.extra = {**(self._message.extra or {}), "error": error}
        await self._transcript.finish(self._message)
