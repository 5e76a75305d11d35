"""Contract of several handles on one location: reopening and concurrent changes."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from omniagent_cli.errors import SessionConflict, SessionNotFound
from omniagent_cli.stores.operations.rollover import RolledOverSession
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    MakeStore,
    found,
    ids,
    messages_of,
    positions,
    texts,
)


def full_content(store: SessionStore) -> list[object]:
    """Return the visible content of a store, for comparison."""
    return [
        [(summary, store.get(summary.id)) for summary in store.list(archived=None, sort="id")],
        store.trash(),
        store.search("a*", limit=None),
        store.count_expired(),
    ]


class SharedPlaceContract(ContractBase):
    """Contract of stores whose location can be opened more than once."""

    def test_a_session_rolls_over_once(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Of several handles that roll over a session at the same time, one succeeds and no message is lost."""
        stores = [make_store(clock=clock) for _ in range(4)]
        old = stores[0].append("s", messages_of("a", "b"))[-1].created_at
        clock.advance("1d")
        start = threading.Barrier(len(stores))
        results: list[RolledOverSession | None] = []

        def roll(store: SessionStore) -> None:
            start.wait()
            due = store.roll_over(
                "s", lambda last, _: RolledOverSession("t", "") if last == old else None
            )
            results.append(due)
            store.append("s", messages_of("new"))

        threads = [threading.Thread(target=roll, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listed = {summary.id: texts(stores[0], summary.id) for summary in stores[0].list(sort="id")}
        assert listed == {"s": ["new"] * len(stores), "t": ["a", "b"]}
        assert results.count(None) == len(stores) - 1

    def test_reopening_keeps_everything(self, make_store: MakeStore, clock: FakeClock) -> None:
        """Sessions, metadata, trash, attachments, summaries, expiry and the search index survive reopening."""
        store = make_store(clock=clock)
        store.append("s", messages_of("a one", "a two", "b three"))
        store.set_metadata("s", "k", {"x": [None]})
        store.set_state("s", "k", 1)
        store.put_attachment("s", "a" * 64, {"name": "f"})
        store.tag("s", ["t"])
        store.trim("s", 2)
        store.put_summary("s", 1, {"text": "x"})
        store.append("gone", messages_of("a four"))
        store.delete("gone")
        store.fork("s", "fork")
        before = full_content(store)
        store.close()
        again = make_store(clock=clock)
        assert full_content(again) == before
        assert again.attachments("s") == ["a" * 64]
        assert again.last_summary("s") == {"text": "x", "up_to": 1}
        again.append("s", messages_of("c"))
        assert positions(again, "s") == [1, 2, 3]

    def test_two_handles_see_each_other(self, make_store: MakeStore, clock: FakeClock) -> None:
        """A handle reads another handle's writes immediately."""
        one, two = make_store(clock=clock), make_store(clock=clock)
        one.append("s", messages_of("apple"))
        assert texts(two, "s") == ["apple"]
        two.append("s", messages_of("pear"))
        two.set_metadata("s", "k", 1)
        assert texts(one, "s") == ["apple", "pear"]
        assert one.get_metadata("s", "k") == 1
        assert found(one, "pear") == [("s", 1)]
        one.rename("s", "t")
        assert ids(two) == ["t"]
        two.clear("t")
        assert texts(one, "t") == []
        two.delete("t")
        with pytest.raises(SessionNotFound):
            one.get("t")
        one.restore("t")
        assert full_content(one) == full_content(two)

    def test_a_stale_object_of_another_handle_is_a_conflict(self, make_store: MakeStore) -> None:
        """Of two handles that save the same loaded session, the second gets SessionConflict."""
        one, two = make_store(), make_store()
        one.append("s", messages_of("a"))
        mine, theirs = one.get("s"), two.get("s")
        mine.add_message("user", "mine")
        one.save(mine)
        theirs.add_message("user", "theirs")
        with pytest.raises(SessionConflict):
            two.save(theirs)
        assert texts(one, "s") == texts(two, "s") == ["a", "mine"]

    def test_handles_in_threads_lose_nothing(self, make_store: MakeStore) -> None:
        """Four handles appending to one session concurrently keep every message."""
        failures: list[BaseException] = []

        def work(store: SessionStore, number: int) -> None:
            try:
                for turn in range(10):
                    store.append("s", messages_of(f"{number}.{turn}a", f"{number}.{turn}b"))
            except BaseException as error:  # noqa: BLE001  # reported by the assertion below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(make_store(), n)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        store = make_store()
        assert sorted(texts(store, "s")) == sorted(
            f"{n}.{t}{half}" for n in range(4) for t in range(10) for half in "ab"
        )
        assert positions(store, "s") == list(range(80))

    def test_a_stores_ttl_is_for_its_own_sessions(
        self, make_store: MakeStore, clock: FakeClock
    ) -> None:
        """A store's `ttl` does not change sessions created by other handles."""
        long = make_store(clock=clock, ttl="30d")
        long.append("s", messages_of("a"))
        short = make_store(clock=clock, ttl="1h")
        short.append("s", messages_of("b"))
        short.set_metadata("s", "k", 1)
        short.touch("s")
        assert long.get("s").expires_at == clock.now + timedelta(days=30)
        short.append("t", messages_of("b"))
        long.append("t", messages_of("c"))
        assert long.get("t").expires_at == clock.now + timedelta(hours=1)
        saved = short.get("s")
        saved.title = "x"
        short.save(saved)
        assert short.get("s").ttl_seconds == 30 * 86_400
        clock.advance("2d")
        assert ids(short) == ids(long) == ["s"]

    def test_a_stores_trash_ttl_is_for_its_own_removals(
        self, make_store: MakeStore, clock: FakeClock
    ) -> None:
        """A store's `trash_ttl` does not change entries that other handles put in the trash."""
        one, two = make_store(clock=clock, trash_ttl="2h"), make_store(clock=clock, trash_ttl=None)
        one.append("s", messages_of("a"))
        one.delete("s")
        two.append("t", messages_of("a"))
        two.delete("t")
        assert [entry.session_id for entry in two.trash()] == ["s"]
        two.restore("s")
        assert texts(one, "s") == ["a"]

    def test_closing_one_handle_leaves_the_other(self, make_store: MakeStore) -> None:
        """Closing a handle leaves other handles open."""
        one, two = make_store(), make_store()
        one.append("s", messages_of("a"))
        one.close()
        two.append("s", messages_of("b"))
        assert texts(two, "s") == ["a", "b"]
