"""What the parts of the contract share: the fixtures a test asks for, and short ways to say things."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from omniagent_cli.stores.events import EVENTS, Event
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock


@dataclass(frozen=True)
class StoreCase:
    """One backend, wrapper or stack that the contract runs on.

    Attributes:
        open: opens a store in a directory of its own; called again, it opens the same place again.
        reopens: a place can be opened more than once (not so a store that lives in one object).
        forks: another process can open the place too.
    """

    open: Callable[..., SessionStore]
    reopens: bool = True


class MakeStore(Protocol):
    """Opens the place of this test, each time another store object with the options given."""

    def __call__(self, **options: Any) -> SessionStore:
        """Open it."""
        ...


class ContractBase:
    """The fixtures of a contract class; a subclass or its module provides ``case``."""

    @pytest.fixture
    def make_store(self, case: StoreCase, tmp_path: Path) -> Iterator[MakeStore]:
        """Open this test's place, as often as wanted; everything is closed afterwards."""
        opened: list[SessionStore] = []

        def make(**options: Any) -> SessionStore:
            opened.append(case.open(tmp_path, **options))
            return opened[-1]

        yield make
        for store in opened:
            store.close()

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return a clock that stands still."""
        return FakeClock()

    @pytest.fixture
    def store(self, make_store: MakeStore, clock: FakeClock) -> SessionStore:
        """Open a store whose clock stands still."""
        return make_store(clock=clock)


def said(*texts: str, role: str = "user") -> list[dict[str, Any]]:
    """Return message records, one a text."""
    return [{"role": role, "content": text} for text in texts]


def texts(store: SessionStore, session_id: str, **options: Any) -> list[str]:
    """Return the texts of a session's messages."""
    return [message.text for message in store.messages(session_id, **options)]


def positions(store: SessionStore, session_id: str) -> list[int | None]:
    """Return the positions of a session's messages."""
    return [message.position for message in store.messages(session_id)]


def ids(store: SessionStore, **options: Any) -> list[str]:
    """Return the ids a listing gives."""
    return [summary.id for summary in store.list(**options)]


def found(store: SessionStore, query: str, **options: Any) -> list[tuple[str, int]]:
    """Return session and position of each search hit."""
    return [(hit.session_id, hit.position) for hit in store.search(query, **options)]


def listen(store: SessionStore) -> list[Event]:
    """Return a list that every event of a store is added to."""
    told: list[Event] = []
    for name in EVENTS:
        store.on(name, told.append)
    return told
