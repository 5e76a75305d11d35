"""Promises about adding messages and saving sessions: atomic, in order, complete, never over someone else."""

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
from omniagent_cli.testing.contract_base import ContractBase, listen, positions, said, texts

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
    "content parts that are text": {"role": "user", "content": ["x"]},
    "text": "hello",
    "nothing": None,
    "number": 5,
    "NaN": {"role": "user", "content": "x", "extra": {"n": float("nan")}},
    "bytes": {"role": "user", "content": "x", "extra": {"n": b"x"}},
    "a time that is none": {"role": "user", "content": "x", "created_at": "yesterday"},
    "a time that is a number": {"role": "user", "content": "x", "created_at": 5},
    "an empty id": {"role": "user", "content": "x", "id": ""},
    "a number as id": {"role": "user", "content": "x", "id": 7},
    "half a character in the id": {"role": "user", "content": "x", "id": "\ud800"},
    "half a character in the turn": {"role": "user", "content": "x", "turn_id": "\ud800"},
    "unknown status": {"role": "user", "content": "x", "status": "maybe"},
    "calls that are none": {"role": "assistant", "content": "", "tool_calls": [1]},
    "usage that is a list": {"role": "assistant", "content": "", "usage": []},
}


class WritingContract(ContractBase):
    """What was acknowledged is there, whole, in order, as it was given."""

    def test_append_creates_and_keeps_order(self, store: SessionStore) -> None:
        """The first append makes the session; messages stand in the order they came."""
        store.append("s", said("a", "b"))
        store.append("s", said("c"))
        assert texts(store, "s") == ["a", "b", "c"]
        assert positions(store, "s") == [0, 1, 2]
        assert store.count_messages("s") == store.summary("s").message_count == 3

    def test_append_takes_one_or_many_of_either_kind(self, store: SessionStore) -> None:
        """A message, a record, a list or a generator of them are all accepted."""
        store.append("s", Message("user", "a"))
        store.append("s", {"role": "assistant", "content": "b"})
        store.append("s", (Message("user", t) for t in "cd"))
        store.append("s", [Message("user", "e"), {"role": "tool", "content": "f"}])
        assert "".join(texts(store, "s")) == "abcdef"

    def test_what_append_returns_is_what_is_stored(self, store: SessionStore) -> None:
        """The returned messages have ids, times and positions, and equal those read later."""
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

    def test_missing_facts_are_filled_in(self, store: SessionStore, clock: FakeClock) -> None:
        """Messages without id, time or turn get them; a user message begins a turn."""
        store.append("s", said("q") + said("a", "b", role="assistant") + said("q2"))
        one, two, three, four = store.messages("s")
        assert len({m.id for m in (one, two, three, four)}) == 4
        assert one.created_at == four.created_at == clock.now
        assert one.turn_id == two.turn_id == three.turn_id == one.id
        assert four.turn_id == four.id

    def test_given_facts_are_kept(self, store: SessionStore) -> None:
        """A message's own id, time and turn stay, the time in UTC."""
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

    @pytest.mark.parametrize("kind", NOT_MESSAGES)
    def test_a_bad_message_stores_nothing(self, store: SessionStore, kind: str) -> None:
        """One wrong message among good ones refuses all of them, and makes no session."""
        told = listen(store)
        batch = [*said("good"), NOT_MESSAGES[kind], *said("good")]
        with pytest.raises(InvalidRecord):
            store.append("new", batch)
        assert not store.exists("new")
        store.append("s", said("before"))
        told.clear()
        with pytest.raises(InvalidRecord):
            store.append("s", batch)
        assert texts(store, "s") == ["before"]
        assert told == []

    def test_a_batch_that_fails_half_way_stores_nothing(self, store: SessionStore) -> None:
        """A generator that breaks after some messages leaves nothing of them."""

        def broken() -> Iterator[Message]:
            yield Message("user", "a")
            raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            store.append("s", broken())
        assert not store.exists("s")

    def test_an_empty_batch_is_refused(self, store: SessionStore) -> None:
        """Appending nothing is an error and makes no session."""
        with pytest.raises(InvalidRecord):
            store.append("s", [])
        assert not store.exists("s")

    @pytest.mark.parametrize("kind", ODD_TEXTS)
    def test_any_text_survives(self, store: SessionStore, kind: str) -> None:
        """Texts no terminal or database likes come back as they were, wherever they stand."""
        odd = ODD_TEXTS[kind]
        store.append(
            "s", {"role": "tool", "content": odd, "name": odd or "n", "extra": {odd: [odd]}}
        )
        store.set_metadata("s", "odd", {odd: odd})
        store.set_title("s", odd)
        (message,) = store.messages("s")
        assert message.content == odd
        assert message.record["extra"] == {odd: [odd]}
        assert store.get_metadata("s", "odd") == {odd: odd}
        assert store.get("s").title == odd

    def test_a_huge_message_survives(self, store: SessionStore) -> None:
        """A megabyte in one message is only a long message."""
        text = "häuser und gärten " * 56_000
        store.append("s", Message("user", text))
        assert texts(store, "s") == [text]
        assert len(store.summary("s").preview) <= 200

    def test_content_parts_and_tool_calls_survive(self, store: SessionStore) -> None:
        """Parts, calls with their argument text, results and usage come back as they were."""
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
        """Keys of messages and sessions that this version does not know are kept."""
        store.append("s", {"role": "user", "content": "a", "x_future": {"deep": [1, None, True]}})
        session = store.get("s")
        assert session.messages[0].record["x_future"] == {"deep": [1, None, True]}
        session.unknown["x_session"] = [1]
        store.save(session)
        store.set_metadata("s", "k", 1)
        assert store.get("s").unknown == {"x_session": [1]}

    def test_deep_nesting_is_kept_or_refused(self, store: SessionStore) -> None:
        """A value nested a hundred deep is kept; one nested without end is refused, not half stored."""
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

    def test_positions_are_never_used_again(self, store: SessionStore) -> None:
        """What is added after trim, clear or undo gets positions no message had."""
        store.append("s", said("a", "b", "c"))
        store.truncate_from("s", 2)
        store.append("s", said("d"))
        assert positions(store, "s") == [0, 1, 3]
        store.trim("s", 0)
        store.append("s", said("e"))
        assert positions(store, "s") == [4]
        store.clear("s")
        store.append("s", said("f"))
        assert positions(store, "s") == [5]

    def test_two_messages_with_one_id_are_two(self, store: SessionStore) -> None:
        """An id given twice loses neither message."""
        store.append("s", {"id": "m", "role": "user", "content": "a"})
        store.append("s", {"id": "m", "role": "user", "content": "b"})
        assert texts(store, "s") == ["a", "b"]

    def test_the_first_question_is_the_title(self, store: SessionStore) -> None:
        """A session without a title is called by its first user message; a person's title stays."""
        store.append("s", said("you are kind", role="system") + said("\n  What is  up?\nMore"))
        assert store.get("s").title == "What is up?"
        store.set_title("s", "Mine")
        store.set_title("s", "Guess", source="model")
        store.append("s", said("another"))
        assert (store.get("s").title, store.get("s").title_source) == ("Mine", "user")

    def test_write_pins_agent_and_model_once(self, store: SessionStore) -> None:
        """A new session belongs to the agent and model named; an existing one keeps its own."""
        made = store.write("s", said("a"), agent_id="helper", model="a:b")
        again = store.write("s", said("b"), agent_id="other", model="c:d")
        assert made.created
        assert not again.created
        header = store.header("s")
        assert (header.agent_id, header.model) == ("helper", "a:b")

    def test_threads_lose_nothing(self, store: SessionStore) -> None:
        """Eight threads appending to one session keep every message, each batch in one piece."""
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(10):
                    store.append("s", said(f"{number}.{turn}.0", f"{number}.{turn}.1"))
            except BaseException as error:  # noqa: BLE001  # told by the assertion below
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
