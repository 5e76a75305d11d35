"""Compacting: the model sums up the older part of a session, and the summary is sent instead. All messages stay."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from omniagent_cli.agent.context.compaction_range import (
    Part,
    part_after_refusal,
    part_to_compact,
)
from omniagent_cli.agent.context.summary_prompt import (
    SMALLEST_PIECE_TOKENS,
    next_piece,
    piece_tokens,
    rendered,
    request,
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

UNASKED_REQUESTS = 8
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
class Compacted:
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

    def __init__(
        self, store: SessionStore, worker: ThreadPoolExecutor, settings: ModelSettings
    ) -> None:
        self._store = store
        self._worker = worker
        self._settings = settings
        self._gave_up: set[str] = set()

    async def run(
        self,
        session_id: str,
        engine: Engine,
        window: Window,
        *,
        instructions: str = "",
        progress: Progress | None = None,
    ) -> Compacted:
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
        part = await self._call(lambda: part_to_compact(self._store, session_id, window))
        if part is None:
            raise UsageError(
                f"there is nothing to sum up in {one_line(session_id)!r}: its newest turn is always sent whole"
            )
        return await self._compact(session_id, engine, window, part, instructions, progress)

    async def before_turn(
        self, session_id: str, engine: Engine, window: Window
    ) -> AsyncGenerator[Notice, None]:
        """Sum up what is older when the window is full to the share that was configured; a failure is only told."""
        if window.compact_at is None or engine.name == RECALL or session_id in self._gave_up:
            return
        try:
            part = await self._call(
                lambda: part_to_compact(self._store, session_id, window, unasked=True)
            )
            if part is None:
                return
            if part.tokens > UNASKED_REQUESTS * piece_tokens(window):
                self._gave_up.add(session_id)
                yield Notice(
                    "the older messages are too many to sum up unasked; compact the session to do it"
                )
                return
            yield Notice(f"summarizing {len(part.messages)} older messages, so that the rest fits")
            await self._compact(session_id, engine, window, part, "", None)
        except OmniAgentError as error:
            self._gave_up.add(session_id)
            yield Notice(f"the older messages were not summed up: {error}; the turn goes on")

    async def after_refusal(
        self, session_id: str, engine: Engine, window: Window, refused: ContextLengthExceeded
    ) -> AsyncGenerator[Notice, None]:
        """Sum up what is older, after a model refused the session as too long.

        Raises:
            ContextLengthExceeded: nothing was summed up; the refusal, with what to do.
        """
        part, accepted = await self._call(
            lambda: part_after_refusal(self._store, session_id, window, refused.limit_tokens)
        )
        if part is None:
            raise refused.with_hint(SHORTER_QUESTION)
        count = len(part.messages)
        if part.tokens > UNASKED_REQUESTS * piece_tokens(accepted):
            raise refused.with_hint(
                f"its {count} older messages are too many to compact unasked: run /compact, or"
                f" omniagent sessions compact {one_line(session_id)} -m MODEL"
            )
        yield Notice(
            f"the conversation is longer than {one_line(engine.name)} accepts;"
            f" compacting {count} older messages and asking again"
        )
        try:
            await self._compact(session_id, engine, accepted, part, "", None)
        except OmniAgentError as error:
            failed = f"compacting it failed ({error})"
            raise refused.with_hint(f"{failed}; choose another model (--model)") from error

    async def _compact(
        self,
        session_id: str,
        engine: Engine,
        window: Window,
        part: Part,
        instructions: str,
        progress: Progress | None,
    ) -> Compacted:
        text, usage = await self._sum_up(engine, window, part, instructions, progress)
        record: dict[str, Any] = {
            "text": text,
            "model": engine.name,
            "created_at": format_time(utc_now()),
            "messages": part.covered,
            "usage": usage,
        }
        if instructions:
            record["instructions"] = instructions
        await self._call(
            lambda: self._store.put_summary(
                session_id, part.up_to, record, uid=part.uid, messages=part.covered
            )
        )
        self._gave_up.discard(session_id)
        return Compacted(
            session_id, part.covered, part.up_to, len(part.messages), text, engine.name, usage
        )

    async def _sum_up(
        self,
        engine: Engine,
        window: Window,
        part: Part,
        instructions: str,
        progress: Progress | None,
    ) -> tuple[str, dict[str, Any]]:
        """Ask for a summary of one piece after another, each on top of the one before."""
        usage: Counter[str] = Counter()
        room = piece_tokens(window)
        text = part.before.text if part.before else ""
        waiting, total = [rendered(message) for message in part.messages], len(part.messages)
        while waiting:
            if progress is not None:
                progress(total - len(waiting), total)
            piece = next_piece(waiting, room)
            asked = request(text, piece, instructions, window)
            try:
                finished = await ask_once(engine, asked, self._plain_settings())
            except ModelRefused as error:
                too_long = isinstance(error, ContextLengthExceeded) or error.status in _TOO_LONG
                if not too_long:
                    raise
                if room // 2 < SMALLEST_PIECE_TOKENS:
                    raise error.with_hint("choose a model with a longer context (-m)") from error
                room //= 2
                continue
            usage.update({key: n for key, n in finished.usage.items() if isinstance(n, int)})
            text = finished.text
            del waiting[: len(piece)]
        return text, dict(usage)

    def _plain_settings(self) -> ModelSettings:
        """Return how to ask: a person's wish for a temperature or a seed is one for answers, not for summaries."""
        return replace(self._settings, temperature=None, seed=None)

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)
