"""Contract of search: the same results on every backend, and no query that fails."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from omniagent_cli.errors import UsageError
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import ContractBase, found, messages_of, raised

FINDS: list[tuple[str, str, bool]] = [
    # text, query, expected match
    ("The quick brown fox", "quick", True),
    ("The quick brown fox", "QUICK fox", True),
    ("The quick brown fox", "quick cat", False),
    ("The quick brown fox", "quic", False),
    ("The quick brown fox", "quic*", True),
    ("The quick brown fox", "*", False),
    ("The quick brown fox", '"quick brown"', True),
    ("The quick brown fox", '"brown quick"', False),
    ("The quick brown fox", '"quick brown', True),
    ("The quick brown fox", '"quick fox"', False),
    ("The quick, (brown) fox!", '"quick brown fox"', True),
    ("Straße und Übermut", "strasse", True),
    ("Straße und Übermut", "ubermut", True),
    ("Straße und Übermut", "ÜBERMUT", True),
    ("cafe\u0301 creme", "café", True),
    ("CAFÉ CRÈME", "cafe creme", True),
    ("İstanbul", "istanbul", True),
    ("ﬁne ligature", "fine", True),
    ("user_name = 5", "name", True),
    ("user_name = 5", "user_name", True),
    ("see user-123 there", "user-123", True),
    ("see user 123 there", "user-123", True),
    ("version 3.11.7", "3.11", True),
    ("one two", "one* two", True),
    ("oneness two", "one* two", True),
    ("今日は良い天気です", "天気", True),
    ("今日は良い天気です", "気天", False),
    ("今日は良い天気です", "良い 今日", True),
    ("今日は良い天気です", "天*", True),
    ("ภาษาไทย", "ไทย", True),
    ("中文test混合", "test", True),
    ("中文test混合", "文test", True),
    ("한국어 문장", "한국어", True),
    ("Привет, МИР", "мир", True),
    ("naïve 😀 text", "naive text", True),
    ("naïve 😀 text", "😀", False),
    ("a\x00word\x1fthere", "word", True),
    ("half \ud800 character", "half character", True),
    ("and or not near", "AND OR NOT NEAR", True),
    ("x", "x", True),
    ("ａｂｃ wide", "wide", True),
]

HOSTILE = [
    "",
    " ",
    '"',
    '""',
    '"""',
    "*",
    "**",
    '"*"',
    "AND",
    "OR NOT",
    "NEAR(",
    "NEAR(a b, 5)",
    "a NEAR b",
    "(",
    ")",
    "^a",
    "-a",
    "+a",
    "text:a",
    "{a b}: c",
    "'; DROP TABLE messages; --",
    "%",
    "_",
    "\\",
    "😀",
    "\x00",
    "\ud800",
    "a\x00b",
    "\n\t",
    "a" * 10_000,
    "a " * 2_000,
    '"' * 999,
    "ä" * 5_000,
    "日" * 3_000,
    "\u202e",
]


class SearchContract(ContractBase):
    """Search covers one session or all, newest hits first."""

    def test_words_phrases_and_prefixes(self, store: SessionStore) -> None:
        """Words, case, accents, phrases, prefixes and CJK text match alike on every backend."""
        names = {text: f"s{number}" for number, (text, _, _) in enumerate(FINDS)}
        for text, name in names.items():
            store.append(name, messages_of(text))
        for text, query, expected in FINDS:
            wanted = [(names[text], 0)] if expected else []
            hits = [hit for hit in found(store, query) if hit[0] == names[text]]
            assert hits == wanted, (text, query)
            assert found(store, query, session_id=names[text]) == wanted, (text, query)

    def test_no_query_is_an_error(self, store: SessionStore) -> None:
        """Any text is a valid query."""
        store.append("s", messages_of("and or near a b text"))
        for query in HOSTILE:
            assert raised(store.search, query) is None, query
            store.search(query, session_id="s", role="user", limit=None)
        assert found(store, "near") == [("s", 0)]

    def test_newest_first_across_sessions(self, store: SessionStore, clock: FakeClock) -> None:
        """Hits of all sessions are sorted by message time, newest first."""
        for number in range(6):
            store.append(f"s{number % 2}", messages_of(f"apple {number}"))
            clock.advance("1m")
        store.append("s0", messages_of("pear"))
        hits = store.search("apple")
        assert [hit.snippet for hit in hits] == [f"apple {n}" for n in (5, 4, 3, 2, 1, 0)]
        assert found(store, "apple", session_id="s1") == [("s1", 2), ("s1", 1), ("s1", 0)]

    def test_hits_are_sorted_by_message_time(self, store: SessionStore) -> None:
        """Imported messages are sorted by their own time, not by the time of the import."""
        for year in (2021, 2019, 2020):
            record = {"role": "user", "content": "apple", "created_at": f"{year}-01-01T00:00:00Z"}
            store.append(f"y{year}", record)
        assert [hit[0] for hit in found(store, "apple")] == ["y2021", "y2020", "y2019"]

    def test_the_limit(self, store: SessionStore, clock: FakeClock) -> None:
        """A limited result has `complete=False`; a negative limit raises UsageError."""
        for number in range(5):
            store.append("s", messages_of(f"apple {number}"))
            clock.advance("1s")
        some = store.search("apple", limit=3)
        assert [hit.position for hit in some] == [4, 3, 2]
        assert not some.complete
        assert store.search("apple", limit=5).complete
        assert len(store.search("apple", limit=None)) == 5
        assert store.search("apple", limit=0) == []
        with pytest.raises(UsageError):
            store.search("apple", limit=-1)

    def test_a_hit(self, store: SessionStore, clock: FakeClock) -> None:
        """A hit has session, title, message id, role, time, and a snippet with the matched range."""
        store.append("s", messages_of("The title"))
        (added,) = store.append(
            "s", messages_of("before " * 50 + "Äpfel\nund mehr", role="assistant")
        )
        (hit,) = store.search("apfel")
        assert (hit.session_id, hit.title, hit.message_id) == ("s", "The title", added.id)
        assert (hit.position, hit.role, hit.created_at) == (1, "assistant", clock.now)
        assert [hit.snippet[slice(*pair)] for pair in hit.matches] == ["Äpfel"]
        assert "\n" not in hit.snippet
        assert len(hit.snippet) < 250

    def test_every_match_is_marked(self, store: SessionStore) -> None:
        """The ranges of a hit cover every match of every term in the snippet."""
        store.append("s", messages_of("Café  noir,\ncafe au lait: decafé, two cafés, NOIR"))
        (hit,) = store.search("noir caf*")
        marked = [hit.snippet[slice(*pair)] for pair in hit.matches]
        assert marked == ["Café", "noir", "cafe", "cafés", "NOIR"]

    def test_by_role(self, store: SessionStore) -> None:
        """A search can be limited to one role."""
        store.append("s", messages_of("apple") + messages_of("apple", role="assistant"))
        assert found(store, "apple", role="assistant") == [("s", 1)]
        assert found(store, "apple", role="tool") == found(store, "apple", role="\ud800") == []

    def test_filters_apply_before_the_limit(self, store: SessionStore, clock: FakeClock) -> None:
        """Date, tag, metadata, directory and model filter the hits before they are limited."""
        store.write("old", messages_of("apple"), origin={"cwd": "/a"})
        store.tag("old", ["fruit", "red"])
        store.set_metadata("old", "n", 1)
        store.append("old", {"role": "assistant", "content": "apple", "model": "p:small"})
        clock.advance("1h")
        middle = clock.now
        for number in range(30):
            store.append(f"new{number}", messages_of("apple"))
            clock.advance("1s")

        def hits(**filters: Any) -> list[tuple[str, int]]:
            return [(hit.session_id, hit.position) for hit in store.search("apple", **filters)]

        both = [("old", 1), ("old", 0)]
        assert hits(until=middle, limit=2) == both
        assert hits(until=middle, session_id="old", limit=2) == both
        assert hits(tags=["fruit", "red"], limit=2) == hits(metadata={"n": 1}, limit=2) == both
        assert hits(cwd="/a", limit=2) == both
        assert hits(model="small", limit=1) == hits(model="p:small", limit=1) == both[:1]
        assert hits(tags=["fruit"], role="user", limit=1) == both[1:]
        assert len(hits(since=middle, limit=None)) == 30
        assert hits(since=clock.now) == hits(tags=["fruit", "blue"]) == hits(model="mall") == []
        assert hits(since=middle, until=middle + timedelta(seconds=1)) == [("new0", 0)]
        assert store.search("apple", tags=["red"], limit=2).complete
        assert not store.search("apple", tags=["red"], limit=1).complete

    def test_the_text_of_parts_is_searched(self, store: SessionStore) -> None:
        """Text parts are searched; other parts and extra data are not."""
        parts = [{"type": "text", "text": "apple"}, {"type": "file", "file": {"name": "pear"}}]
        store.append("s", {"role": "user", "content": parts, "extra": {"plum": "plum"}})
        assert found(store, "apple") == [("s", 0)]
        assert found(store, "pear") == found(store, "plum") == []

    def test_edited_text_is_found(self, store: SessionStore) -> None:
        """After an edit, search finds the new text only."""
        store.append("s", messages_of("apple", "pear"))
        session = store.get("s")
        session.messages[0].content = "plum"
        store.save(session)
        assert found(store, "apple") == []
        assert len(found(store, "plum")) == len(found(store, "pear")) == 1

    def test_removed_messages_are_not_found(self, store: SessionStore, clock: FakeClock) -> None:
        """Removed and expired messages are not found; restored ones are."""
        for name in ("trim", "clear", "undo", "delete", "purge", "expire"):
            store.append(name, messages_of("apple"))
            clock.advance("1s")
        store.trim("trim", 0)
        store.clear("clear")
        store.truncate_from("undo", 0)
        store.delete("delete")
        store.delete("purge", purge=True)
        store.set_ttl("expire", "1m")
        clock.advance("2m")
        assert found(store, "apple") == found(store, "app*") == []
        for name in ("trim", "clear", "undo", "delete"):
            store.restore(name)
            assert found(store, "apple", session_id=name) == [(name, 0)]
        assert [hit[0] for hit in found(store, "apple")] == ["delete", "undo", "clear", "trim"]

    def test_staged_messages_are_not_found(self, store: SessionStore) -> None:
        """A staged import is not searched until it is published."""
        from omniagent_cli.models import Message, Session

        uid = store.stage(Session("s"))
        store.stage_messages(uid, [Message("user", "apple")])
        assert found(store, "apple") == []
        store.publish(uid, Session("s"))
        assert found(store, "apple") == [("s", 0)]

    def test_a_running_answer_is_found(self, store: SessionStore) -> None:
        """The checkpoints of a running answer are searched, and replaced by its final text."""
        from omniagent_cli.models import Message

        uid = store.write("s", messages_of("question")).uid
        answer = store.checkpoint("s", Message("assistant", "app"), uid=uid).messages[0]
        answer.content = "apple so far"
        answer = store.checkpoint("s", answer, uid=uid).messages[0]
        assert found(store, "apple") == [("s", 1)]
        assert found(store, "app") == []
        answer.content = "apple pie"
        store.checkpoint("s", answer, uid=uid, final=True)
        assert found(store, "apple") == found(store, "pie") == [("s", 1)]
        assert found(store, "far") == []

    def test_a_long_session_is_searched(self, store: SessionStore, clock: FakeClock) -> None:
        """Search is complete in a session of 2,500 messages."""
        store.append("other", messages_of("apple"))
        store.append(
            "s",
            messages_of(*(f"message {n} {'apple' if n % 900 == 7 else ''}" for n in range(2500))),
        )
        assert sorted(found(store, "apple", session_id="s")) == [("s", 7), ("s", 907), ("s", 1807)]
        assert len(found(store, "apple")) == 4
