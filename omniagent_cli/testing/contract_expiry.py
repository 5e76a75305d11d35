"""Contract of the TTL: an expired session is invisible; writing restarts the TTL and reading does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from omniagent_cli.errors import (
    InvalidDuration,
    SessionConflict,
    SessionExpired,
    SessionNotFound,
)
from omniagent_cli.models import Message, Session
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    MakeStore,
    ids,
    messages_of,
    raised,
    texts,
)
from omniagent_cli.testing.contract_reading import NEEDS_A_SESSION

HOUR = timedelta(hours=1)
Ways = dict[str, Callable[[], object]]

TTLS: list[tuple[Any, float | None]] = [
    ("7d", 604_800),
    ("168h", 604_800),
    ("1h30m", 5_400),
    (timedelta(minutes=5), 300),
    (90, 90),
    (0.5, 0.5),
    (None, None),
    ("never", None),
    (0, None),
    (timedelta(0), None),
    ("0s", None),
]
NOT_TTLS: list[Any] = [-1, timedelta(seconds=-1), "-1h", "soon", float("nan"), 1e300]


class ExpiryContract(ContractBase):
    """Each session has its own TTL, exact to the microsecond."""

    def test_a_clock_that_is_set_back_shortens_nothing(
        self, store: SessionStore, clock: FakeClock
    ) -> None:
        """Writing while the clock is set back never shortens a session's TTL."""
        store.append("s", messages_of("a"))
        right = clock.now
        clock.now = right - timedelta(days=400)
        store.append("s", messages_of("b"))
        store.touch("s")
        clock.now = right
        assert texts(store, "s") == ["a", "b"]
        assert store.header("s").expires_at == right + timedelta(days=7)

    def test_every_ttl_format(self, make_store: MakeStore, clock: FakeClock) -> None:
        """A store's `ttl` applies to the sessions it creates; 0 and "never" disable expiry."""
        for ttl, seconds in TTLS:
            store = make_store(clock=clock, ttl=ttl)
            store.delete("s", purge=True)
            store.append("s", messages_of("a"))
            session = store.get("s")
            expires_at = None if seconds is None else clock.now + timedelta(seconds=seconds)
            assert (session.ttl_seconds, session.expires_at) == (seconds, expires_at), ttl

    def test_an_invalid_ttl_is_rejected(self, make_store: MakeStore, store: SessionStore) -> None:
        """An invalid TTL raises InvalidDuration, on opening a store and in `set_ttl`."""
        store.append("s", messages_of("a"))
        for bad in NOT_TTLS:
            assert raised(store.set_ttl, "s", bad) is InvalidDuration, bad
            assert raised(lambda bad=bad: make_store(ttl=bad)) is InvalidDuration, bad

    @pytest.mark.parametrize(
        "made_by", ["append", "get_or_create", "set_metadata", "set_state", "save", "fork"]
    )
    def test_every_new_session_expires(
        self, make_store: MakeStore, clock: FakeClock, made_by: str
    ) -> None:
        """A session's TTL starts at its creation, by any operation that creates one."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("source", messages_of("a"))
        ways: Ways = {
            "append": lambda: store.append("s", messages_of("a")),
            "get_or_create": lambda: store.get_or_create("s"),
            "set_metadata": lambda: store.set_metadata("s", "k", 1),
            "set_state": lambda: store.set_state("s", "k", 1),
            "save": lambda: store.save(Session("s")),
            "fork": lambda: store.fork("source", "s"),
        }
        ways[made_by]()
        assert store.get("s").expires_at == clock.now + HOUR
        assert store.get("s").ttl_seconds == 3600

    def test_expiry_is_exact(self, make_store: MakeStore, clock: FakeClock) -> None:
        """A session exists until the microsecond before its expiry."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("s", messages_of("a"))
        clock.advance(HOUR - timedelta(microseconds=1))
        assert store.exists("s")
        clock.advance(timedelta(microseconds=1))
        assert not store.exists("s")

    def test_expired_is_invisible_to_every_operation(
        self, make_store: MakeStore, clock: FakeClock
    ) -> None:
        """Operations on an expired session raise SessionExpired, a subclass of SessionNotFound."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("typo", messages_of("word"))
        clock.advance(HOUR)
        for name, operation in NEEDS_A_SESSION.items():
            with pytest.raises(SessionExpired) as caught:
                pytest.fail(f"{name}: {operation(store)}")
            assert isinstance(caught.value, SessionNotFound)
            assert caught.value.session_id == "typo"

    def test_expired_is_in_no_listing(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Listings, counts and search skip expired sessions, and `delete` returns False for one."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("s", messages_of("word"))
        clock.advance(HOUR)
        assert store.list() == store.list(archived=None, sort="id") == []
        assert store.count() == 0
        assert store.search("word") == []
        assert not store.exists("s")
        assert store.count_expired() == 1
        assert store.delete("s") is False
        assert store.trash() == []

    def test_writing_restarts_the_ttl(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Every write restarts the TTL, `touch` included."""
        store = make_store(clock=clock, ttl=HOUR)
        uid = store.write("s", messages_of("a", "b", "c")).uid
        writes: list[Callable[[], object]] = [
            lambda: store.append("s", messages_of("d")),
            lambda: store.set_metadata("s", "k", 1),
            lambda: store.set_state("s", "k", 1),
            lambda: store.delete_metadata("s", "k"),
            lambda: store.tag("s", ["t"]),
            lambda: store.set_title("s", "t"),
            lambda: store.set_model("s", "a:b"),
            lambda: store.put_summary("s", 1, {"text": "x"}),
            lambda: store.put_attachment("s", "a" * 64, {"name": "x"}),
            lambda: store.checkpoint("s", Message("assistant", "x"), uid=uid),
            lambda: store.save(store.get("s")),
            lambda: store.truncate_from("s", 3),
            lambda: store.trim("s", 1),
            lambda: store.clear("s"),
            lambda: store.restore("s"),
            lambda: store.rename("s", "s2"),
            lambda: store.rename("s2", "s"),
            lambda: store.touch("s"),
        ]
        for write in writes:
            clock.advance(HOUR / 2)
            write()
            (session_id,) = ids(store)
            assert store.get(session_id).expires_at == clock.now + HOUR

    def test_reading_does_not_restart_the_ttl(
        self, make_store: MakeStore, clock: FakeClock
    ) -> None:
        """Reading never extends a session's life."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("s", messages_of("word"))
        expires = store.get("s").expires_at
        clock.advance(HOUR / 2)
        store.get("s")
        store.messages("s")
        store.search("word")
        store.list()
        store.get_or_create("s")
        store.session("s").get_messages()
        assert store.get("s").expires_at == expires

    def test_touch_changes_no_content(self, store: SessionStore, clock: FakeClock) -> None:
        """`touch` leaves content, metadata and `updated_at` unchanged."""
        store.append("s", messages_of("a"))
        before = store.get("s")
        clock.advance("1d")
        store.touch("s")
        after = store.get("s")
        assert after.updated_at == before.updated_at
        assert after.messages == before.messages
        assert after.expires_at == clock.now + timedelta(days=7)

    def test_set_ttl_changes_one_session(self, store: SessionStore, clock: FakeClock) -> None:
        """`set_ttl` changes or removes one session's TTL and leaves `updated_at` unchanged."""
        store.append("s", messages_of("a"))
        before = store.get("s").updated_at
        clock.advance("1h")
        store.set_ttl("s", "30d")
        assert store.get("s").expires_at == clock.now + timedelta(days=30)
        store.set_ttl("s", "never")
        assert store.get("s").expires_at is None
        assert store.get("s").updated_at == before
        clock.advance("700d")
        assert texts(store, "s") == ["a"]

    def test_writing_to_an_expired_id_replaces_it(
        self, make_store: MakeStore, clock: FakeClock
    ) -> None:
        """A write replaces an expired session in one transaction and reports it as `expired`."""
        store = make_store(clock=clock, ttl=HOUR)
        old = store.write("s", messages_of("old"))
        store.set_metadata("s", "k", 1)
        clock.advance(HOUR)
        new = store.write("s", messages_of("new"))
        assert (new.expired, new.created, old.expired) == (True, True, False)
        assert new.uid != old.uid
        session = store.get("s")
        assert [m.text for m in session.messages] == ["new"]
        assert session.metadata == {}
        assert session.created_at == clock.now
        assert store.search("old") == []
        assert store.trash() == []

    @pytest.mark.parametrize("way", ["get_or_create", "set_metadata", "fork", "rename", "save"])
    def test_an_expired_id_is_free(self, make_store: MakeStore, clock: FakeClock, way: str) -> None:
        """Any operation can reuse the id of an expired session."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("s", messages_of("old"))
        clock.advance(HOUR)
        store.append("other", messages_of("new"))
        ways: Ways = {
            "get_or_create": lambda: store.get_or_create("s"),
            "set_metadata": lambda: store.set_metadata("s", "k", 1),
            "fork": lambda: store.fork("other", "s"),
            "rename": lambda: store.rename("other", "s"),
            "save": lambda: store.save(Session("s")),
        }
        ways[way]()
        assert "old" not in texts(store, "s")
        assert store.count_expired() == 0

    def test_saving_an_expired_session_is_rejected(
        self, make_store: MakeStore, clock: FakeClock
    ) -> None:
        """Saving a session that has expired since it was loaded raises."""
        store = make_store(clock=clock, ttl=HOUR)
        store.append("s", messages_of("a"))
        session = store.get("s")
        clock.advance(HOUR)
        with pytest.raises((SessionExpired, SessionConflict)):
            store.save(session)
        assert not store.exists("s")

    def test_purge_removes_expired_sessions(self, make_store: MakeStore, clock: FakeClock) -> None:
        """`purge_expired` removes exactly the expired sessions and returns their number."""
        store = make_store(clock=clock, ttl=HOUR)
        for number in range(5):
            store.append(f"s{number}", messages_of("a"))
        store.set_ttl("s0", None)
        clock.advance(HOUR)
        store.append("fresh", messages_of("a"))
        assert store.count_expired() == 4
        assert store.purge_expired() == 4
        assert store.purge_expired() == store.count_expired() == 0
        assert sorted(ids(store)) == ["fresh", "s0"]
        assert store.trash() == []
        with pytest.raises(SessionNotFound) as caught:
            store.get("s1")
        assert not isinstance(caught.value, SessionExpired)

    def test_purge_removes_more_than_a_batch(self, make_store: MakeStore, clock: FakeClock) -> None:
        """`purge_expired` handles more sessions than it reads at a time."""
        store = make_store(clock=clock, ttl=HOUR, trash_ttl=HOUR)
        for number in range(30):
            store.append(f"s{number}", messages_of("a"))
            if number % 3 == 0:
                store.delete(f"s{number}")
        clock.advance(HOUR)
        assert store.purge_expired() == 20
        assert store.info()["expired"] == 0
