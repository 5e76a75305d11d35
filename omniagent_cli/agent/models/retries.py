"""Retries of failed requests: which failures to retry, and how long to wait. The same for every engine."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Protocol

from omniagent_cli.agent.events import ModelSettings, Notice, Retrying, TextDelta, ThinkingDelta
from omniagent_cli.agent.models.failures import Failure

MAX_WAIT_SECONDS = 60.0
"""The longest wait; if a provider requests more, the error is raised instead."""

Piece = TextDelta | ThinkingDelta | Notice


class FailedError(Exception):
    """The failure of one attempt."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Attempt(Protocol):
    """One attempt at a request."""

    @property
    def started(self) -> bool:
        """Return True once part of the answer has arrived; then a retry would repeat it."""
        ...

    def pieces(self) -> AsyncGenerator[Piece, None]:
        """Send the request and yield its pieces; raises `FailedError`."""
        ...


async def with_retries(
    attempt: Callable[[], Attempt], settings: ModelSettings, backoff_seconds: float
) -> AsyncGenerator[Piece | Retrying, None]:
    """Send a request; retry only while nothing of the answer has arrived.

    Raises:
        ModelError: the request failed.
    """
    retries = 0
    while True:
        current = attempt()
        try:
            async with aclosing(current.pieces()) as pieces:
                async for piece in pieces:
                    yield piece
            return
        except FailedError as failed:
            wait = _wait(failed.failure, retries, backoff_seconds)
            if current.started or retries >= settings.max_retries or wait is None:
                raise failed.failure.error from failed.__cause__
            retry = Retrying(failed.failure.reason, wait)
        retries += 1
        yield retry
        await asyncio.sleep(retry.wait_seconds)


def _wait(failure: Failure, retries: int, backoff_seconds: float) -> float | None:
    """Return the wait in seconds before the next attempt; None if the failure is permanent."""
    if not failure.worth_retrying:
        return None
    if failure.wait_seconds is not None:
        return failure.wait_seconds if failure.wait_seconds <= MAX_WAIT_SECONDS else None
    # Jitter, so that many clients do not retry at the same moment.
    return float(min(8.0, backoff_seconds * 2**retries)) * random.uniform(0.75, 1.0)  # noqa: S311
