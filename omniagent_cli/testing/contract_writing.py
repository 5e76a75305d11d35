"""Contract of appending messages: atomic, ordered and complete."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.models import Message
from omniagent_cli.stores.store import SessionStore
from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import (
    ContractBase,
    listen,
    messages_of,
    positions,
    raised,
    texts,
)

ODD_TEXTS = {
    "empty": "",
    "lone surrogate": "a\ud800b\udfff",
    "NUL": "a\x00b\x00",
    "controls": "\x1b[31mred\x07\x9b\u202e\r\n\u2028\u0085",
    "four bytes": "😀𝄞𠀀" * 20,
    "combining": "e\u0301 versus é",
    "line breaks": "\n\n one \r\n two \n",
    "JSON": '{"a": "\\ud800"}\\',
    "noncharacters": "\ufffe\uffff\U0010ffff",
}

NOT_MESSAGES: dict[str, Any] = {
    "no role": {"content": "x"},
    "unknown role": {"role": "robot", "content": "x"},
    "number as content": {"role": "user", "content": 5},
    "text as content part": {"role": "user", "content": ["x"]},
    "text": "hello",
    "nothing": None,
    "number": 5,
    "NaN": {"role": "user", "content": "x", "extra": {"n": float("nan")}},
    "bytes": {"role": "user", "content": "x", "extra": {"n": b"x"}},
    "invalid time": {"role": "user", "content": "x", "created_at": "yesterday"},
    "time without a zone": {"role": "user", "content": "x", "created_at": "2026-01-01T10:00:00"},
    "number as time": {"role": "user", "content": "x", "created_at": 5},
    "empty id": {"role": "user", "content": "x", "id": ""},
    "number as id": {"role": "user", "content": "x", "id": 7},
    "lone surrogate in the id": {"role": "user", "content": "x", "id": "\ud800"},
    "lone surrogate in the turn": {"role": "user", "content": "x", "turn_id": "\ud800"},
    "unknown status": {"role": "user", "content": "x", "status": "maybe"},
    "invalid tool calls": {"role": "assistant", "content": "", "tool_calls": [1]},
    "integer keys": {"role": "user", "content": "x", "extra": {"n": {1: "integer", "1": "text"}}},
    "null as key of a call": {
        "role": "assistant",
        "tool_calls": [{"function": {"name": "f", "arguments": {"a": [{None: 1}]}}}],
    },
    "list as usage": {"role": "assistant", "content": "", "usage": []},
}


class WritingContract(ContractBase):
    """Acknowledged messages are stored completely, in order and unchanged."""

    def test_append_creates_and_keeps_order(self, store: SessionStore) -> None:
        """The first append creates the session; messages keep their order."""
        store.append("s", messages_of("a", "b"))
        store.append("s", messages_of("c"))
        assert texts(store, "s") == ["a", "b", "c"]
        assert positions(store, "s") == [0, 1, 2]
        assert store.count_messages("s") == store.summary("s").message_count == 3

    def test_append_takes_one_or_many_of_either_kind(self, store: SessionStore) -> None:
        """`append` accepts a message, a record, a list or a generator of both."""
        store.append("s", Message("user", "a"))
        store.append("s", {"role": "assistant", "content": "b"})
        store.append("s", (Message("user", t) for t in "cd"))
        store.append("s", [Message("user", "e"), {"role": "tool", "content": "f"}])
        assert "".join(texts(store, "s")) == "abcdef"

    def test_append_returns_the_stored_messages(self, store: SessionStore) -> None:
        """The returned messages have ids, times and positions, and equal the stored ones."""
        returned = store.append(
            "s",
            [
                {"role": "user", "content": "a", "status": "complete", "tool_calls": None},
                {"role": "assistant", "content": None, "status": "interrupted"},
            ],
        )
        stored = store.messages("s")
        assert returned == stored
        assert [m.position for m in returned] == [m.position for m in stored] == [0, 1]
        assert all(m.id and m.created_at for m in returned)

    def test_missing_fields_are_filled_in(self, store: SessionStore, clock: FakeClock) -> None:
        """Missing ids, times and turn ids are set; a user message starts a turn."""
        store.append(
            "s", messages_of("q") + messages_of("a", "b", role="assistant") + messages_of("q2")
        )
        one, two, three, four = store.messages("s")
        assert len({m.id for m in (one, two, three, four)}) == 4
        assert one.created_at == four.created_at == clock.now
        assert one.turn_id == two.turn_id == three.turn_id == one.id
        assert four.turn_id == four.id

    def test_given_fields_are_kept(self, store: SessionStore) -> None:
        """A given id, time and turn id are kept, the time converted to UTC."""
        record = {
            "id": "m-1",
            "turn_id": "t-1",
            "role": "user",
            "content": "a",
            "created_at": "2020-05-05T05:05:05.123456+05:00",
        }
        store.append("s", record)
        (message,) = store.messages("s")
        assert (message.id, message.turn_id) == ("m-1", "t-1")
        assert message.created_at == datetime(2020, 5, 5, 0, 5, 5, 123456, UTC)
        assert record["created_at"].endswith("+05:00")

    def test_an_invalid_message_stores_nothing(self, store: SessionStore) -> None:
        """One invalid message rejects the whole batch and creates no session."""
        store.append("s", messages_of("before"))
        events = listen(store)
        for kind, bad in NOT_MESSAGES.items():
            batch = [*messages_of("good"), bad, *messages_of("good")]
            assert raised(store.append, "new", batch) is InvalidRecord, kind
            assert raised(store.append, "s", batch) is InvalidRecord, kind
        assert not store.exists("new")
        assert texts(store, "s") == ["before"]
        assert events == []

    def test_a_batch_that_fails_half_way_stores_nothing(self, store: SessionStore) -> None:
        """A generator that raises stores nothing."""

        def broken() -> Iterator[Message]:
            yield Message("user", "a")
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            store.append("s", broken())
        assert not store.exists("s")

    def test_an_empty_batch_is_rejected(self, store: SessionStore) -> None:
        """Appending no messages raises InvalidRecord and creates no session."""
        with pytest.raises(InvalidRecord):
            store.append("s", [])
        assert not store.exists("s")

    def test_any_text_survives(self, store: SessionStore) -> None:
        """Control characters, lone surrogates and other unusual text are stored unchanged."""
        for kind, odd in ODD_TEXTS.items():
            store.append(
                kind, {"role": "tool", "content": odd, "name": odd or "n", "extra": {odd: [odd]}}
            )
            store.set_metadata(kind, "odd", {odd: odd})
            store.set_title(kind, odd)
            (message,) = store.messages(kind)
            assert message.content == odd, kind
            assert message.record["extra"] == {odd: [odd]}, kind
            assert store.get_metadata(kind, "odd") == {odd: odd}, kind
            assert store.get(kind).title == odd, kind

    def test_a_huge_message_survives(self, store: SessionStore) -> None:
        """A message of one megabyte is stored unchanged."""
        text = "häuser und gärten " * 56_000
        store.append("s", Message("user", text))
        assert texts(store, "s") == [text]
        assert len(store.summary("s").preview) <= 200

    def test_content_parts_and_tool_calls_survive(self, store: SessionStore) -> None:
        """Content parts, tool calls, tool results and usage are stored unchanged."""
        records: list[dict[str, Any]] = [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:,"}},
                ],
            },
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{ "a":1 }'},
                    }
                ],
                "usage": {"input_tokens": 3, "output_tokens": 4},
                "model": "a:b",
            },
            {"role": "tool", "content": '{"ok": true}', "tool_call_id": "c1", "name": "f"},
        ]
        store.append("s", records)
        for record, message in zip(records, store.messages("s"), strict=True):
            assert {key: message.record[key] for key in record} == record

    def test_unknown_keys_survive(self, store: SessionStore) -> None:
        """Unknown keys of messages and sessions are kept."""
        store.append("s", {"role": "user", "content": "a", "x_future": {"deep": [1, None, True]}})
        session = store.get("s")
        assert session.messages[0].record["x_future"] == {"deep": [1, None, True]}
        session.unknown["x_session"] = [1]
        store.save(session)
        store.set_metadata("s", "k", 1)
        assert store.get("s").unknown == {"x_session": [1]}

    def test_deep_nesting_is_kept_or_rejected(self, store: SessionStore) -> None:
        """A value nested 100 deep is kept; one nested 20,000 deep is rejected."""
        deep: Any = 1
        for _ in range(100):
            deep = [deep]
        store.append("s", {"role": "user", "content": "a", "extra": {"d": deep}})
        store.set_metadata("s", "d", deep)
        assert store.get("s").messages[0].record["extra"]["d"] == deep
        for _ in range(20_000):
            deep = [deep]
        with pytest.raises(InvalidRecord):
            store.set_metadata("s", "d", deep)
        with pytest.raises(InvalidRecord):
            store.append("s", {"role": "user", "content": "b", "extra": {"d": deep}})
        assert texts(store, "s") == ["a"]

    def test_positions_are_never_reused(self, store: SessionStore) -> None:
        """Messages added after trim, clear or undo get new positions."""
        store.append("s", messages_of("a", "b", "c"))
        store.truncate_from("s", 2)
        store.append("s", messages_of("d"))
        assert positions(store, "s") == [0, 1, 3]
        store.trim("s", 0)
        store.append("s", messages_of("e"))
        assert positions(store, "s") == [4]
        store.clear("s")
        store.append("s", messages_of("f"))
        assert positions(store, "s") == [5]

    def test_two_messages_with_one_id_are_two(self, store: SessionStore) -> None:
        """Two messages with the same id are both kept."""
        store.append("s", {"id": "m", "role": "user", "content": "a"})
        store.append("s", {"id": "m", "role": "user", "content": "b"})
        assert texts(store, "s") == ["a", "b"]

    def test_the_first_question_is_the_title(self, store: SessionStore) -> None:
        """The first user message is the title, unless the user sets one."""
        store.append(
            "s", messages_of("you are kind", role="system") + messages_of("\n  What is  up?\nMore")
        )
        assert store.get("s").title == "What is up?"
        store.set_title("s", "Mine")
        store.set_title("s", "Guess", source="model")
        store.append("s", messages_of("another"))
        assert (store.get("s").title, store.get("s").title_source) == ("Mine", "user")

    def test_write_pins_agent_and_model_once(self, store: SessionStore) -> None:
        """`write` sets agent and model on a new session only."""
        made = store.write("s", messages_of("a"), agent_id="helper", model="a:b")
        again = store.write("s", messages_of("b"), agent_id="other", model="c:d")
        assert made.created
        assert not again.created
        header = store.header("s")
        assert (header.agent_id, header.model) == ("helper", "a:b")

    def test_threads_lose_nothing(self, store: SessionStore) -> None:
        """Eight threads appending to one session keep every message, each batch contiguous."""
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    store.append("s", messages_of(f"{number}.{turn}.0", f"{number}.{turn}.1"))
            except BaseException as error:  # noqa: BLE001  # reported by the assertion below
                failures.append(error)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        stored = texts(store, "s")
        assert sorted(stored) == sorted(
            f"{n}.{t}.{i}" for n in range(8) for t in range(10) for i in range(2)
        )
        assert positions(store, "s") == list(range(160))
        for first, second in zip(stored[::2], stored[1::2], strict=True):
            assert first[:-1] == second[:-1]
