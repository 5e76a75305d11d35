"""Shared fixtures and helpers of the contract tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from omniagent_cli.stores.events import Event, SessionEvent
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock


@dataclass(frozen=True)
class StoreCase:
    """One backend, wrapper or stack that the contract tests.

    Attributes:
        open: opens a store below the given directory; a second call opens the same location.
        reopens: the location can be opened more than once (a store in memory cannot).
    """

    open: Callable[..., SessionStore]
    reopens: bool = True


class MakeStore(Protocol):
    """Factory that opens another handle on the location of the current test, with the given options."""

    def __call__(self, **options: Any) -> SessionStore:
        """Open a handle."""
        ...


class ContractBase:
    """Fixtures of every contract class; a subclass or its module provides ``case``."""

    @pytest.fixture
    def make_store(self, case: StoreCase, tmp_path: Path) -> Iterator[MakeStore]:
        """Return a factory for handles on one location; they are closed after the test."""
        opened: list[SessionStore] = []

        def make(**options: Any) -> SessionStore:
            opened.append(case.open(tmp_path, **options))
            return opened[-1]

        yield make
        for store in opened:
            store.close()

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return a fake clock."""
        return FakeClock()

    @pytest.fixture
    def store(self, make_store: MakeStore, clock: FakeClock) -> SessionStore:
        """Open a store that uses the fake clock."""
        return make_store(clock=clock)


def messages_of(*texts: str, role: str = "user") -> list[dict[str, Any]]:
    """Return one message record per text."""
    return [{"role": role, "content": text} for text in texts]


def texts(store: SessionStore, session_id: str, **options: Any) -> list[str]:
    """Return the texts of a session's messages."""
    return [message.text for message in store.messages(session_id, **options)]


def positions(store: SessionStore, session_id: str) -> list[int | None]:
    """Return the positions of a session's messages."""
    return [message.position for message in store.messages(session_id)]


def ids(store: SessionStore, **options: Any) -> list[str]:
    """Return the session ids of a listing."""
    return [summary.id for summary in store.list(**options)]


def found(store: SessionStore, query: str, **options: Any) -> list[tuple[str, int]]:
    """Return (session id, position) of each search hit."""
    return [(hit.session_id, hit.position) for hit in store.search(query, **options)]


def raised(operation: Callable[..., object], *arguments: object) -> type[Exception] | None:
    """Return the type of the exception that an operation raises, or None."""
    try:
        operation(*arguments)
    except Exception as error:  # noqa: BLE001  # the test compares it
        return type(error)
    return None


def listen(store: SessionStore) -> list[Event]:
    """Return a list that collects every event of a store."""
    events: list[Event] = []
    for name in SessionEvent:
        store.on(name, events.append)
    return events
