"""Compaction: the model summarizes the older part of a session, and the summary is sent instead. No message is removed."""

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
"""The maximum number of requests of an automatic compaction."""

SHORTER_QUESTION = (
    "shorten the question, offer fewer tools (--no-tools), or choose a model with a longer context"
    " (--model)"
)
"""The hint if there is nothing older to compact, or compaction did not help."""

_TOO_LONG = (400, 413, 422)
"""The HTTP statuses with which providers reject a request that is too long."""

Progress = Callable[[int, int], object]
"""Called with the number of messages summarized and the total."""


@dataclass(frozen=True, slots=True)
class CompactionResult:
    """The result of a compaction.

    Attributes:
        messages: the number of messages that the summary covers.
        position: the position of the last of them.
        added: the number of them that no earlier summary covered.
        summary: the text.
        model: the model that wrote it.
        usage: the token usage of all requests.
    """

    session_id: str
    messages: int
    position: int
    added: int
    summary: str
    model: str
    usage: dict[str, Any] = field(default_factory=dict)


class Compaction:
    """Summarizes sessions of a store.

    Args:
        store: the store.
        worker: the only thread in which the store is called.
        settings: the model settings.
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
        """Summarize all but the newest turns of a session, extending its last summary.

        Raises:
            UsageError: there is nothing to summarize, or the model is `recall`.
            ModelError: the request failed; nothing changed.
            SessionConflict: messages of the range were removed; nothing changed.
        """
        if engine.name == RECALL:
            raise UsageError(
                "recall is not a language model and cannot summarize; choose another: -m MODEL"
            )
        chosen = await self._call(lambda: range_to_compact(self._store, session_id, window))
        if chosen is None:
            raise UsageError(
                f"nothing to compact in {one_line(session_id)!r}: the newest turn is always sent in full"
            )
        return await self._compact(session_id, engine, window, chosen, instructions, progress)

    async def before_turn(
        self, session_id: str, engine: Engine, window: Window
    ) -> AsyncGenerator[Notice, None]:
        """Compact a session whose window is full to the configured share; a failure is only reported."""
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
                    "Too many older messages for automatic compaction; run /compact or omniagent sessions compact"
                )
                return
            yield Notice(
                f"Summarizing {len(chosen.messages)} older messages, so that the rest fits"
            )
            await self._compact(session_id, engine, window, chosen, "", None)
        except OmniAgentError as error:
            self._failed.add(session_id)
            yield Notice(f"Automatic compaction failed: {error}; the turn continues")

    async def after_refusal(
        self, session_id: str, engine: Engine, window: Window, refused: ContextLengthExceeded
    ) -> AsyncGenerator[Notice, None]:
        """Compact a session that a model rejected as too long.

        Raises:
            ContextLengthExceeded: nothing was compacted; the original error with a hint.
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
            f"The conversation is longer than {one_line(engine.name)} accepts;"
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
        """Request a summary of one chunk after another, each extending the one before."""
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
        """Return model settings for summaries, ignoring the user's temperature and seed."""
        return replace(self._settings, temperature=None, seed=None)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)
