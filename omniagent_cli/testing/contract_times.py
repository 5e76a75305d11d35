"""Contract of the two times of a session: its last activity and its last change of any kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.models import Message, Session
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import ContractBase, MakeStore, ids, messages_of

_TTL = timedelta(days=7)


def _save_title(store: SessionStore) -> None:
    session = store.get("s")
    session.title = "new"
    store.save(session)


def _save_message(store: SessionStore) -> None:
    session = store.get("s")
    session.add_message("user", "c")
    store.save(session)


def _save_fewer(store: SessionStore) -> None:
    session = store.get("s")
    session.trim(1)
    store.save(session)


def _rename(store: SessionStore) -> None:
    store.rename("s", "t")
    store.rename("t", "s")


def _restore(store: SessionStore) -> None:
    store.trim("s", 1)
    store.restore("s")


CHANGES: dict[str, Callable[[SessionStore], object]] = {
    "title": lambda s: s.set_title("s", "new"),
    "model": lambda s: s.set_model("s", "a:b"),
    "tag": lambda s: s.tag("s", ["work"]),
    "pin": lambda s: s.set_metadata("s", "pinned", value=True),
    "archive": lambda s: s.set_metadata("s", "archived", value=True),
    "metadata": lambda s: s.delete_metadata("s", "k"),
    "state": lambda s: s.set_state("s", "k", 1),
    "ttl": lambda s: s.set_ttl("s", "7d"),
    "touch": lambda s: s.touch("s"),
    "rename": _rename,
    "summary": lambda s: s.put_summary("s", 0, {"text": "of the first"}),
    "save": _save_title,
    "empty clear": lambda s: s.clear("s", before=0),
}
ACTIVITY: dict[str, Callable[[SessionStore], object]] = {
    "append": lambda s: s.append("s", messages_of("c")),
    "checkpoint": lambda s: s.checkpoint("s", Message("assistant", "c"), uid=s.get("s").uid),
    "status": lambda s: s.set_message_status("s", 1, "failed"),
    "trim": lambda s: s.trim("s", 1),
    "save": _save_message,
    "undo": lambda s: s.pop("s"),
    "restore": _restore,
    "save fewer": _save_fewer,
    "clear": lambda s: s.clear("s"),
}


class TimesContract(ContractBase):
    """`updated_at` is the last activity, `modified_at` the last change; every write restarts the time to live."""

    @pytest.fixture
    def old(self, store: SessionStore, clock: FakeClock) -> SessionStore:
        """Return a store whose session was last used a day ago."""
        store.append("s", messages_of("a", "b"))
        store.set_metadata("s", "k", 1)
        clock.advance("1d")
        return store

    def test_a_change_is_not_activity(self, old: SessionStore, clock: FakeClock) -> None:
        """A change without messages moves `modified_at` and the expiry, and leaves `updated_at`."""
        start = old.get("s").updated_at
        for name, change in CHANGES.items():
            clock.advance("1h")
            change(old)
            after, summary = old.get("s"), old.summary("s")
            assert (name, after.updated_at, after.modified_at) == (name, start, clock.now)
            assert (name, summary.updated_at, summary.modified_at) == (name, start, clock.now)
            assert (name, after.expires_at) == (name, clock.now + _TTL)

    def test_activity_moves_both_times(self, old: SessionStore, clock: FakeClock) -> None:
        """A message that is added, changed or removed moves both times."""
        for name, change in ACTIVITY.items():
            old.touch("s")
            clock.advance("1h")
            change(old)
            after = old.get("s")
            assert (name, after.updated_at, after.modified_at) == (name, clock.now, clock.now)
            assert (name, after.expires_at) == (name, clock.now + _TTL)

    def test_order_and_filters_follow_activity(self, old: SessionStore, clock: FakeClock) -> None:
        """Tags and titles change neither the order of a listing nor what counts as old."""
        limit = clock.now
        clock.advance("1h")
        old.append("new", messages_of("a"))
        clock.advance("1h")
        old.tag("s", ["work"])
        old.set_title("s", "kept")
        assert ids(old) == ["new", "s"]
        assert ids(old, until=limit) == ["s"]
        assert ids(old, since=limit) == ["new"]

    def test_a_new_session_has_one_time(self, store: SessionStore, clock: FakeClock) -> None:
        """A new session was last used when it was created, also without messages."""
        store.get_or_create("s")
        session = store.get("s")
        assert (session.updated_at, session.modified_at) == (clock.now, clock.now)

    def test_a_clock_that_is_set_back(self, make_store: MakeStore) -> None:
        """Both times and the expiry never go back."""
        clock = FakeClock()
        store = make_store(clock=clock)
        store.append("s", messages_of("a"))
        start = clock.now
        clock.advance("1d")
        store.touch("s")
        later, expires = clock.now, store.get("s").expires_at
        clock.now = start
        store.tag("s", ["work"])
        store.append("s", messages_of("b"))
        after = store.get("s")
        assert (after.updated_at, after.modified_at, after.expires_at) == (start, later, expires)

    def test_an_exported_record_keeps_both(self, old: SessionStore, clock: FakeClock) -> None:
        """A record has both times; one without `modified_at` was last changed at its last activity."""
        old.set_title("s", "new")
        data = old.session("s").export()
        clock.advance("1d")
        old.session("copy").import_data(data)
        del data["modified_at"]
        old.session("older").import_data(data)
        first, copy, older = old.get("s"), old.get("copy"), old.get("older")
        assert (copy.updated_at, copy.modified_at) == (first.updated_at, first.modified_at)
        assert (older.updated_at, older.modified_at) == (first.updated_at, first.updated_at)

    def test_a_time_without_a_zone_is_refused(self, store: SessionStore) -> None:
        """A time without a zone raises InvalidRecord wherever one is given, and nothing is stored."""
        naive = datetime(2026, 1, 1, 12)  # noqa: DTZ001
        dated = Session("new", created_at=naive)
        staged = store.stage(Session("new"))
        for use in (
            lambda: store.append("new", Message("user", "a", created_at=naive)),
            lambda: store.append("new", {"role": "user", "created_at": "2026-01-01T12:00:00"}),
            lambda: store.save(dated),
            lambda: store.publish(staged, dated),
            lambda: store.publish(None, Session("new", updated_at=naive)),
            lambda: store.list(since=naive),
            lambda: store.list(until=naive),
        ):
            with pytest.raises(InvalidRecord, match="has no time zone"):
                use()
        assert not store.exists("new")
