"""Contract of session ids and listings: order, pages, filters and counts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from omniagent_cli.errors import InvalidSessionId, UsageError
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import ContractBase, ids, messages_of, raised, texts

ODD_IDS = [
    "user-123",
    "telegram:123",
    "a/b",
    "a//b/../c",
    "..",
    ".",
    "~",
    "-rf",
    "--all",
    "@",
    "con",
    "CON",
    "NUL.txt",
    "lpt1",
    "a b",
    " lead",
    "trail ",
    "trail.",
    "UPPER",
    "upper",
    "Upper",
    "Ärger 😀",
    "\u00e9",
    "e\u0301",
    "%2e%2e",
    "%",
    "_",
    "\\",
    "C:\\x",
    "'; DROP TABLE sessions; --",
    '"',
    "*",
    "?",
    "[x]",
    "a\u202eb",
    "日本語",
    "\U0010ffff",
    "{tag}",
    "x" * 512,
    "y" * 511,
    "ä" * 256,
    "😀" * 128,
    "Z" * 512,
    "x.jsonl",
    "index",
    "trash",
    ".hidden",
    "0",
    "null",
]
"""Valid ids; each names a different session on every backend."""

NOT_IDS: dict[str, Any] = {
    "empty": "",
    "blank": "   ",
    "wide blank": "\u3000",
    "too long": "x" * 513,
    "too long in bytes": "ä" * 257,
    "line break": "a\nb",
    "tab": "a\tb",
    "NUL": "a\x00b",
    "escape": "\x1b[2J",
    "delete": "a\x7f",
    "C1": "a\x9bb",
    "hidden": "\x01abc",
    "lone surrogate": "a\ud800",
    "number": 5,
    "none": None,
    "bytes": b"abc",
}

SORTS = ("updated", "created", "messages", "id")


class IdsContract(ContractBase):
    """Any printable text is a session id, compared byte by byte; anything else is rejected."""

    def test_odd_ids_are_all_different_sessions(self, store: SessionStore) -> None:
        """Ids that look alike, or like paths and commands, name different sessions."""
        for odd in ODD_IDS:
            store.append(odd, messages_of(f"text of {odd}"))
        assert sorted(ids(store)) == sorted(ODD_IDS)
        for odd in ODD_IDS:
            assert texts(store, odd) == [f"text of {odd}"]
            assert store.get(odd).id == odd
        for odd in ODD_IDS[::2]:
            assert store.delete(odd) is True
        assert sorted(ids(store)) == sorted(ODD_IDS[1::2])
        for odd in ODD_IDS[::2]:
            assert store.restore(odd).session_id == odd
        assert sorted(ids(store)) == sorted(ODD_IDS)

    def test_odd_ids_can_be_renamed_to(self, store: SessionStore) -> None:
        """A session can be renamed to any valid id."""
        store.append("start", messages_of("a"))
        before = "start"
        for odd in ODD_IDS:
            store.rename(before, odd)
            before = odd
            assert ids(store) == [odd]
        assert texts(store, before) == ["a"]

    def test_an_invalid_id_is_rejected(self, store: SessionStore) -> None:
        """Every operation rejects an id that is blank, too long or has control characters."""
        store.append("s", messages_of("a"))
        operations: list[Callable[[Any], object]] = [
            store.get,
            store.exists,
            lambda bad: store.append(bad, messages_of("a")),
            store.delete,
            lambda bad: store.rename("s", bad),
            lambda bad: store.restore("s", as_id=bad or ""),
            lambda bad: store.set_metadata(bad, "k", 1),
            store.session,
            lambda bad: store.search("a", session_id=bad or ""),
        ]
        for kind, bad in NOT_IDS.items():
            for number, operation in enumerate(operations):
                assert raised(operation, bad) is InvalidSessionId, (kind, number)
        assert ids(store) == ["s"]


class ListingContract(ContractBase):
    """Listings are complete, ordered and paged, and read no messages."""

    def test_a_summary_shows_the_session(self, store: SessionStore, clock: FakeClock) -> None:
        """A listing has id, title, counts, times, expiry, model and a preview of the last message."""
        start = clock.now
        store.write("s", messages_of("What is up?"), agent_id="helper", model="a:b")
        clock.advance("1m")
        store.append("s", messages_of("\n\n  Not   much.  \nMore text", role="assistant"))
        store.tag("s", ["work"])
        (summary,) = store.list()
        assert summary == store.summary("s")
        assert (summary.id, summary.title, summary.message_count) == ("s", "What is up?", 2)
        assert (summary.agent_id, summary.model) == ("helper", "a:b")
        assert (summary.created_at, summary.updated_at) == (start, clock.now)
        assert summary.expires_at == clock.now + timedelta(days=7)
        assert summary.preview == "Not much."
        assert summary.tags == ["work"]
        assert not summary.pinned
        assert not summary.archived
        assert summary.uid == store.get("s").uid

    def test_the_preview_follows_the_last_message(self, store: SessionStore) -> None:
        """The preview is the last message after trim, undo, clear and restore too."""
        store.append("s", messages_of("a", "b", "c"))
        store.truncate_from("s", 2)
        assert store.summary("s").preview == "b"
        store.restore("s")
        assert store.summary("s").preview == "c"
        store.trim("s", 1)
        assert store.summary("s").preview == "c"
        store.clear("s")
        assert store.summary("s").preview == ""
        call = {"id": "c", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
        store.append("s", {"role": "assistant", "content": "", "tool_calls": [call]})
        assert "look_up" in store.summary("s").preview

    def test_the_last_active_comes_first(self, store: SessionStore, clock: FakeClock) -> None:
        """Listings are sorted by last activity, newest first; `touch` does not count as activity."""
        for name in "abc":
            store.append(name, messages_of(name))
            clock.advance("1m")
        assert ids(store) == ["c", "b", "a"]
        store.append("a", messages_of("again"))
        clock.advance("1m")
        store.touch("b")
        assert ids(store) == ["a", "c", "b"]

    def test_every_sort(self, store: SessionStore, clock: FakeClock) -> None:
        """Sessions sort by activity, creation, length or id, pinned ones first."""
        for name, size in (("b", 1), ("a", 3), ("Z", 2), ("ä", 1)):
            store.append(name, messages_of(*map(str, range(size))))
            clock.advance("1m")
        store.set_message_status("b", 0, "failed")
        assert ids(store, sort="updated") == ["b", "ä", "Z", "a"]
        assert ids(store, sort="created") == ["ä", "Z", "a", "b"]
        assert ids(store, sort="messages")[:2] == ["a", "Z"]
        assert ids(store, sort="id") == ["Z", "a", "b", "ä"]
        store.set_metadata("Z", "pinned", value=True)
        for sort in ("updated", "created", "messages", "id"):
            assert ids(store, sort=sort)[0] == "Z"
        with pytest.raises(UsageError, match="updated"):
            store.list(sort="size")

    def test_pages_are_complete(self, store: SessionStore, clock: FakeClock) -> None:
        """Paging returns every session once and in order, ties included."""
        for number in range(23):
            store.append(f"s{number % 7}-{number}", messages_of(*"ab"[: number % 3 + 1]))
            if number % 5 == 0:
                clock.advance("1m")
            if number % 6 == 0:
                store.set_metadata(f"s{number % 7}-{number}", "pinned", value=True)
        for sort, size in itertools.product(SORTS, (1, 4, 23, 50)):
            whole = ids(store, sort=sort)
            assert len(whole) == len(set(whole)) == 23
            walked: list[str] = []
            page = store.list(limit=size, sort=sort)
            walked += [summary.id for summary in page]
            while page.next_cursor is not None:
                assert len(page) == size
                page = store.list(limit=size, sort=sort, cursor=page.next_cursor)
                walked += [summary.id for summary in page]
            assert walked == whole, (sort, size)

    def test_only_the_last_page_has_no_cursor(self, store: SessionStore) -> None:
        """The last page has no cursor; limit 0 returns an empty page and a negative limit raises."""
        for name in "abc":
            store.append(name, messages_of(name))
        assert store.list(limit=3).next_cursor is None
        assert store.list(limit=2).next_cursor is not None
        assert store.list(limit=0) == []
        with pytest.raises(UsageError):
            store.list(limit=-1)

    def test_filters(self, store: SessionStore, clock: FakeClock) -> None:
        """Agent, metadata, tags, prefix and age filters work alone and combined."""
        start = clock.now
        for number, name in enumerate(["user-1", "user-2", "User-3", "bot%1"]):
            store.write(name, messages_of("x"), agent_id="one" if number % 2 else "two")
            store.set_metadata(name, "n", number)
            store.tag(name, ["all", f"t{number}"])
            clock.advance("1h")
        assert ids(store, agent_id="one") == ["bot%1", "user-2"]
        assert ids(store, prefix="user-") == ["user-2", "user-1"]
        assert ids(store, prefix="%") == ids(store, prefix="_") == ids(store, prefix="\ud800") == []
        assert ids(store, prefix="bot%") == ["bot%1"]
        assert ids(store, metadata={"n": 2}) == ["User-3"]
        assert ids(store, metadata={"n": 2, "missing": None}) == []
        assert ids(store, tags=["all", "t0"]) == ["user-1"]
        assert ids(store, tags=["t0", "t1"]) == []
        hour = timedelta(hours=1)
        assert ids(store, since=start + 2 * hour) == ["bot%1", "User-3"]
        assert ids(store, until=start + hour) == ["user-1"]
        assert ids(store, since=start + hour, until=start + 3 * hour, agent_id="two") == ["User-3"]
        assert ids(store, agent_id="\ud800") == []

    def test_filters_and_pages_work_together(self, store: SessionStore, clock: FakeClock) -> None:
        """Pages of a filtered listing are full until the last one."""
        for number in range(12):
            store.set_metadata(f"s{number:02}", "odd", bool(number % 2))
            clock.advance("1m")
        first = store.list(limit=4, metadata={"odd": True})
        assert [s.id for s in first] == ["s11", "s09", "s07", "s05"]
        second = store.list(limit=4, metadata={"odd": True}, cursor=first.next_cursor)
        assert [s.id for s in second] == ["s03", "s01"]
        assert second.next_cursor is None

    def test_archived_sessions_are_listed_on_demand(self, store: SessionStore) -> None:
        """Archived sessions are listed and counted only on request."""
        store.append("a", messages_of("findme"))
        store.append("b", messages_of("b"))
        store.set_metadata("a", "archived", value=True)
        assert ids(store) == ["b"]
        assert ids(store, archived=True) == ["a"]
        assert sorted(ids(store, archived=None)) == ["a", "b"]
        assert [store.count(archived=kind) for kind in (False, True, None)] == [1, 1, 2]
        assert texts(store, "a") == ["findme"]
        store.delete_metadata("a", "archived")
        assert sorted(ids(store)) == ["a", "b"]

    def test_count(self, store: SessionStore) -> None:
        """`count` agrees with `list`."""
        for name in ("a1", "a2", "b1"):
            store.write(name, messages_of("x"), agent_id=name[0])
        store.delete("a2")
        assert store.count() == 2
        assert store.count(prefix="a") == store.count(agent_id="a") == 1
        assert store.count(prefix="\ud800") == 0

    def test_info_counts(self, store: SessionStore, clock: FakeClock) -> None:
        """`info` has backend, URL and the numbers of sessions, expired sessions and trash entries."""
        for name in "abc":
            store.append(name, messages_of(name))
        store.set_ttl("a", "1h")
        store.delete("b")
        clock.advance("2h")
        facts = store.info()
        assert facts["backend"] == store.backend
        assert facts["url"] == store.url
        assert (facts["sessions"], facts["expired"], facts["trash"]) == (1, 1, 1)
