"""Compacting: the model sums up the older chosen of a session, and the summary is sent instead. All messages stay."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from omniagent_cli.agent.context.compaction_range import (
    CompactionRange,
    range_after_refusal,
    range_to_compact,
)
from omniagent_cli.agent.context.summary_prompt import (
    MIN_CHUNK_TOKENS,
    chunk_tokens,
    next_chunk,
    render_message,
    summary_request,
)
from omniagent_cli.agent.context.window import Window
from omniagent_cli.agent.events import Engine, ModelSettings, Notice
from omniagent_cli.agent.models.one_shot import ask_once
from omniagent_cli.agent.models.recall import NAME as RECALL
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import (
    ContextLengthExceeded,
    ModelRefused,
    OmniAgentError,
    UsageError,
)
from omniagent_cli.json_format import format_time
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.text.sanitize import one_line

T = TypeVar("T")

MAX_AUTOMATIC_REQUESTS = 8
"""The most requests before a turn that are sent without being requested."""

SHORTER_QUESTION = (
    "shorten the question, offer fewer tools (--no-tools), or choose a model with a longer context"
    " (--model)"
)
"""The next step where there is nothing older to compact, or where that did not help."""

_TOO_LONG = (400, 413, 422)
"""How providers refuse a request that is longer than the model takes."""

Progress = Callable[[int, int], object]
"""Told how many messages are summed up, of how many."""


@dataclass(frozen=True, slots=True)
class CompactionResult:
    """What a compaction did.

    Attributes:
        messages: how many messages the summary stands for.
        position: of the last of them.
        added: how many of them no earlier summary stood for.
        summary: its text.
        model: who wrote it.
        usage: the tokens it took, all requests together.
    """

    session_id: str
    messages: int
    position: int
    added: int
    summary: str
    model: str
    usage: dict[str, Any] = field(default_factory=dict)


class Compaction:
    """Sums sessions of a store up.

    Args:
        store: where they are.
        worker: the one thread in which the store is called.
        settings: how to ask the model.
    """

    def __init__(self, store: SessionStore, worker: Executor, settings: ModelSettings) -> None:
        self._store = store
        self._worker = worker
        self._settings = settings
        self._failed: set[str] = set()

    async def run(
        self,
        session_id: str,
        engine: Engine,
        window: Window,
        *,
        instructions: str = "",
        progress: Progress | None = None,
    ) -> CompactionResult:
        """Sum up all but the newest turns of a session, on top of its last summary.

        Raises:
            UsageError: there is nothing to sum up, or the model is none.
            ModelError: it gave no summary; everything is as it was.
            SessionConflict: messages it was about went meanwhile; everything is as it was.
        """
        if engine.name == RECALL:
            raise UsageError(
                "recall is not a language model and cannot summarise; name one that can: -m MODEL"
            )
        chosen = await self._call(lambda: range_to_compact(self._store, session_id, window))
        if chosen is None:
            raise UsageError(
                f"there is nothing to sum up in {one_line(session_id)!r}: its newest turn is always sent whole"
            )
        return await self._compact(session_id, engine, window, chosen, instructions, progress)

    async def before_turn(
        self, session_id: str, engine: Engine, window: Window
    ) -> AsyncGenerator[Notice, None]:
        """Sum up what is older when the window is full to the share that was configured; a failure is only told."""
        if window.compact_at is None or engine.name == RECALL or session_id in self._failed:
            return
        try:
            chosen = await self._call(
                lambda: range_to_compact(self._store, session_id, window, automatic=True)
            )
            if chosen is None:
                return
            if chosen.tokens > MAX_AUTOMATIC_REQUESTS * chunk_tokens(window):
                self._failed.add(session_id)
                yield Notice(
                    "the older messages are too many to compact automatically; compact the session to do it"
                )
                return
            yield Notice(
                f"summarizing {len(chosen.messages)} older messages, so that the rest fits"
            )
            await self._compact(session_id, engine, window, chosen, "", None)
        except OmniAgentError as error:
            self._failed.add(session_id)
            yield Notice(f"the older messages were not summed up: {error}; the turn goes on")

    async def after_refusal(
        self, session_id: str, engine: Engine, window: Window, refused: ContextLengthExceeded
    ) -> AsyncGenerator[Notice, None]:
        """Sum up what is older, after a model refused the session as too long.

        Raises:
            ContextLengthExceeded: nothing was summed up; the refusal, with what to do.
        """
        chosen, accepted = await self._call(
            lambda: range_after_refusal(self._store, session_id, window, refused.limit_tokens)
        )
        if chosen is None:
            raise refused.with_hint(SHORTER_QUESTION)
        count = len(chosen.messages)
        if chosen.tokens > MAX_AUTOMATIC_REQUESTS * chunk_tokens(accepted):
            raise refused.with_hint(
                f"its {count} older messages are too many to compact automatically: run /compact, or"
                f" omniagent sessions compact {one_line(session_id)} -m MODEL"
            )
        yield Notice(
            f"the conversation is longer than {one_line(engine.name)} accepts;"
            f" compacting {count} older messages and asking again"
        )
        try:
            await self._compact(session_id, engine, accepted, chosen, "", None)
        except OmniAgentError as error:
            failed = f"compacting it failed ({error})"
            raise refused.with_hint(f"{failed}; choose another model (--model)") from error

    async def _compact(
        self,
        session_id: str,
        engine: Engine,
        window: Window,
        chosen: CompactionRange,
        instructions: str,
        progress: Progress | None,
    ) -> CompactionResult:
        text, usage = await self._summarize(engine, window, chosen, instructions, progress)
        record: dict[str, Any] = {
            "text": text,
            "model": engine.name,
            "created_at": format_time(utc_now()),
            "messages": chosen.covered,
            "usage": usage,
        }
        if instructions:
            record["instructions"] = instructions
        await self._call(
            lambda: self._store.put_summary(
                session_id, chosen.up_to, record, uid=chosen.uid, messages=chosen.covered
            )
        )
        self._failed.discard(session_id)
        return CompactionResult(
            session_id, chosen.covered, chosen.up_to, len(chosen.messages), text, engine.name, usage
        )

    async def _summarize(
        self,
        engine: Engine,
        window: Window,
        chosen: CompactionRange,
        instructions: str,
        progress: Progress | None,
    ) -> tuple[str, dict[str, Any]]:
        """Ask for a summary of one chunk after another, each on top of the one before."""
        usage: Counter[str] = Counter()
        room = chunk_tokens(window)
        text = chosen.before.text if chosen.before else ""
        waiting, total = (
            [render_message(message) for message in chosen.messages],
            len(chosen.messages),
        )
        while waiting:
            if progress is not None:
                progress(total - len(waiting), total)
            chunk = next_chunk(waiting, room)
            messages = summary_request(text, chunk, instructions, window)
            try:
                finished = await ask_once(engine, messages, self._summary_settings())
            except ModelRefused as error:
                too_long = isinstance(error, ContextLengthExceeded) or error.status in _TOO_LONG
                if not too_long:
                    raise
                if room // 2 < MIN_CHUNK_TOKENS:
                    raise error.with_hint("choose a model with a longer context (-m)") from error
                room //= 2
                continue
            usage.update({key: n for key, n in finished.usage.items() if isinstance(n, int)})
            text = finished.text
            del waiting[: len(chunk)]
        return text, dict(usage)

    def _summary_settings(self) -> ModelSettings:
        """Return how to ask: a person's wish for a temperature or a seed is one for answers, not for summaries."""
        return replace(self._settings, temperature=None, seed=None)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)
