"""`openai` exports are valid requests: every call is followed by its result, every result follows its call."""

from __future__ import annotations

import json

from conversations import exported
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.formats.interchange.call_order import NO_RESULT, in_call_order
from omniagent_cli.stores import open_store


def call(call_id: str) -> dict:
    return {"id": call_id, "type": "function", "function": {"name": "look", "arguments": "{}"}}


def answer(*call_ids: str, turn: str = "t", text: str = "") -> dict:
    calls = {"tool_calls": [call(call_id) for call_id in call_ids]} if call_ids else {}
    return {"role": "assistant", "content": text, "turn_id": turn} | calls


def result(call_id: str, text: str, turn: str = "t") -> dict:
    return {"role": "tool", "content": text, "tool_call_id": call_id, "turn_id": turn}


def shape(messages) -> list:
    """Return the ids of an answer's calls, or id and text of a result, or a text."""
    return [
        [one["id"] for one in message["tool_calls"]] if message.get("tool_calls")
        else (message["tool_call_id"], message["content"]) if message["role"] == "tool"
        else message["content"]
        for message in messages
    ]  # fmt: skip


def assert_valid(messages: list[dict]) -> None:
    """Assert what the API requires: ids of calls are unique, and their results follow directly, one each."""
    open_ids: list[str] = []
    seen: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in open_ids
            open_ids.remove(message["tool_call_id"])
            continue
        assert not open_ids
        open_ids = [one["id"] for one in message.get("tool_calls", ())]
        assert "" not in open_ids
        assert len(set(open_ids)) == len(open_ids)
        assert not seen & set(open_ids)
        seen.update(open_ids)
    assert not open_ids


def test_a_valid_order_is_kept():
    messages = [answer("a", "b"), result("a", "1"), result("b", "2"), answer(text="done")]
    assert list(in_call_order(messages)) == messages


def test_a_missing_result_is_replaced_and_a_late_one_moved():
    messages = [answer("a", "b"), answer(text="wait"), result("b", "2")]
    assert shape(in_call_order(messages)) == [["a", "b"], ("a", NO_RESULT), ("b", "2"), "wait"]


def test_two_results_of_one_call_are_joined():
    messages = [answer("a"), result("a", "1"), result("a", "2")]
    assert shape(in_call_order(messages)) == [["a"], ("a", "1\n\n2")]


def test_a_result_without_a_call_gets_one():
    (made, answered) = in_call_order([result("", "found")])
    assert made["tool_calls"][0]["id"] == answered["tool_call_id"] != ""


def test_ids_that_each_answer_repeats_become_unique():
    messages = [answer("a"), result("a", "1"), answer("a"), result("a", "2")]
    assert shape(in_call_order(messages)) == [["a"], ("a", "1"), ["a_1"], ("a_1", "2")]


def test_interleaved_turns_become_whole_turns():
    messages = [answer("a", turn="1"), {"role": "user", "content": "hi", "turn_id": "2"}, result("a", "1", turn="1")]  # fmt: skip
    assert shape(in_call_order(messages)) == [["a"], ("a", "1"), "hi"]


records = st.one_of(
    st.builds(lambda ids, turn: answer(*ids, turn=turn, text="x"), st.lists(st.sampled_from(["", "a", "b"]), max_size=3), st.sampled_from("12")),
    st.builds(result, st.sampled_from(["", "a", "b", "c"]), st.text("xyz", min_size=1, max_size=3), st.sampled_from("12")),
    st.just({"role": "user", "content": "q"}),
)  # fmt: skip


@given(st.lists(records, max_size=12))
def test_any_order_becomes_valid_and_loses_no_text(messages):
    """Whatever the order and ids, the output is valid and contains every text."""
    sent = list(in_call_order(messages))
    assert_valid(sent)
    texts = "\n\n".join(message["content"] for message in sent)
    assert all(message["content"] in texts for message in messages)


def test_an_export_is_a_valid_request():
    """The exporter applies the order."""
    with open_store("memory:") as store:
        store.append(
            "s", [{"role": "user", "content": "q"}, answer("a"), answer(text="no result came")]
        )
        (line,) = exported(store, ["s"], "openai").decode().splitlines()
    assert_valid(json.loads(line)["messages"])
