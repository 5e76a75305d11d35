"""Asking again: which failures are worth it, how long to wait, and when to give up. The same for every engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from omniagent_cli.agent.events import ModelSettings, Notice, Retrying, TextDelta, ThinkingDelta
from omniagent_cli.agent.models.failures import Failure

LONGEST_WAIT_SECONDS = 60.0
"""A provider that asks to wait for longer gets no second try: the person decides."""

Piece = TextDelta | ThinkingDelta | Notice


class FailedError(Exception):
    """One attempt failed; carries what to make of it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Attempt(Protocol):
    """One try at a question."""

    @property
    def began(self) -> bool:
        """Whether something of an answer has come: then it is not asked again, or it would be said twice."""
        ...

    def pieces(self) -> AsyncGenerator[Piece, None]:
        """Ask; raises a `FailedError` when that fails."""
        ...


async def persistently(
    attempt: Callable[[], Attempt], settings: ModelSettings, backoff_seconds: float
) -> AsyncGenerator[Piece | Retrying, None]:
    """Ask once; try again only while nothing of an answer has come.

    Raises:
        ModelError: the provider did not answer properly.
    """
    retries = 0
    while True:
        tried = attempt()
        try:
            async with aclosing(tried.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except FailedError as failed:
            wait = _wait(failed.failure, retries, backoff_seconds)
            if tried.began or retries >= settings.max_retries or wait is None:
                raise failed.failure.error from failed.__cause__
            retry = Retrying(failed.failure.reason, wait)
        retries += 1
        yield retry
        await asyncio.sleep(retry.wait_seconds)


def _wait(failure: Failure, retries: int, backoff_seconds: float) -> float | None:
    """Return how long to wait before trying again; None when that makes no sense."""
    if not failure.worth_retrying:
        return None
    if failure.wait_seconds is not None:
        return failure.wait_seconds if failure.wait_seconds <= LONGEST_WAIT_SECONDS else None
    # Spread, so that many waiting programs do not come back at the same moment.
    return float(min(8.0, backoff_seconds * 2**retries)) * random.uniform(0.75, 1.0)  # noqa: S311
