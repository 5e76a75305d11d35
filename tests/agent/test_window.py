"""What is sent: whole turns, pairs kept, the newest that fit."""

from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.agent.context.summary import Summary
from omniagent_cli.agent.context.tokens import calibration, estimate_tokens
from omniagent_cli.agent.context.window import (
    NO_RESULT,
    SUMMARY_TAKEN,
    Window,
    select_messages,
    select_records,
)
from omniagent_cli.models import Message


def user(text, turn):
    return Message("user", text, turn_id=turn)


def answer(text, turn, calls=()):
    tool_calls = [
        {"id": c, "type": "function", "function": {"name": "f", "arguments": "{}"}} for c in calls
    ]
    return Message("assistant", text, turn_id=turn, tool_calls=tool_calls or None)


def result(call, turn):
    return Message("tool", f"result {call}", tool_call_id=call, turn_id=turn)


def sent(messages, **limits):
    return [(m["role"], m["content"]) for m in select_records(messages, Window(**limits))]


def test_newest_messages_are_sent():
    """The limit takes from the old end, and what is sent begins with a question."""
    messages = [m for i in range(5) for m in (user(f"q{i}", f"t{i}"), answer(f"a{i}", f"t{i}"))]
    assert sent(messages, max_messages=4) == [
        ("user", "q3"),
        ("assistant", "a3"),
        ("user", "q4"),
        ("assistant", "a4"),
    ]
    assert sent(messages, max_messages=3) == [("user", "q4"), ("assistant", "a4")]


def test_calls_stay_with_their_results():
    """A limit never cuts between a call and its results."""
    messages = [
        user("q", "t"),
        answer("", "t", ["1", "2"]),
        result("1", "t"),
        result("2", "t"),
        answer("done", "t"),
    ]
    assert sent(messages, max_messages=3) == [("user", "q"), ("assistant", "done")]
    assert len(sent(messages, max_messages=5)) == 5


def test_a_long_turn_keeps_its_question():
    """A turn of many calls does not push out what was asked; what is left out is older calls with their results."""
    rounds = [m for i in range(9) for m in (answer("", "t", [str(i)]), result(str(i), "t"))]
    before = [user("old", "o"), answer("older", "o")]
    texts = [text for _, text in sent([*before, user("q", "t"), *rounds], max_messages=6)]
    assert texts == ["q", "", "result 7", "", "result 8"]
    budget = sent([*before, user("q", "t"), *rounds], max_tokens=1)
    assert [text for _, text in budget] == ["q", "", "result 8"]


def test_ids_of_calls_may_come_again():
    """Servers that number their calls from 0 in each round get each call's own result back, and a lost one as lost."""
    messages = [user("q", "t")]
    for text in ("first", "second", None, "fourth"):
        messages.append(answer("", "t", ["call_0"]))
        if text:
            messages.append(Message("tool", text, tool_call_id="call_0", turn_id="t"))
    assert [text for role, text in sent(messages) if role == "tool"] == [
        "first",
        "second",
        NO_RESULT,
        "fourth",
    ]


def test_call_without_result_gets_one():
    """A call whose result was never stored is answered by a sentence, as providers demand one."""
    assert sent([user("q", "t"), answer("", "t", ["1"])]) == [
        ("user", "q"),
        ("assistant", ""),
        ("tool", NO_RESULT),
    ]


def test_orphan_results_and_empty_answers_are_left_out():
    """A result without its call, and an answer of nothing, are not sent."""
    assert sent([result("9", "t"), user("q", "t"), answer(" ", "t")]) == [("user", "q")]


def test_interleaved_turns_are_sent_whole():
    """Turns that two writers interleaved go out one after the other, in the order of their first messages."""
    messages = [user("a?", "a"), user("b?", "b"), answer("b!", "b"), answer("a!", "a")]
    assert [text for _, text in sent(messages)] == ["a?", "a!", "b?", "b!"]


def test_token_budget():
    """A token budget keeps the newest; the newest piece goes out even when it is over it."""
    messages = [user("x" * 400, "1"), answer("y" * 400, "1"), user("z" * 4000, "2")]
    assert [text[0] for _, text in sent(messages, max_tokens=10)] == ["z"]
    assert [text[0] for _, text in sent(messages, max_tokens=2000)] == ["x", "y", "z"]


def test_further_results_of_a_call_are_sent_with_the_first():
    """Imports contain calls with several results; a protocol takes one, so their texts are joined."""
    further = Message("tool", "more", tool_call_id="c", turn_id="t")
    messages = [user("q", "t"), answer("", "t", ["c"]), result("c", "t"), further]
    assert sent(messages)[-1] == ("tool", "result c\n\nmore")


def test_a_late_result_is_sent_with_its_call():
    """A result that was stored after the next question is sent right after its call; its own turn's calls come first."""
    messages = [
        user("q1", "t1"),
        answer("", "t1", ["1", "2"]),
        result("2", "t1"),
        user("q2", "t2"),
        result("1", "t2"),
        answer("", "t2", ["1"]),
        result("1", "t2"),
        result("1", "t2"),
    ]
    expected = [(m.role, m.content) for m in (*messages[:2], result("1", "t2"), messages[2])]
    expected += [("user", "q2"), ("assistant", ""), ("tool", "result 1")]
    assert sent(messages) == expected


@given(
    st.lists(st.sampled_from(["user", "assistant", "call", "tool"]), max_size=30),
    st.integers(1, 12),
)
def test_what_is_sent_is_always_valid(kinds, limit):
    """Whatever is stored, every result sent follows its call and every call has all its results."""
    messages = []
    for number, kind in enumerate(kinds):
        turn = f"t{number // 4}"
        messages.append(
            {
                "user": lambda t=turn: user("q", t),
                "assistant": lambda t=turn: answer("a", t),
                "call": lambda t=turn, n=number: answer("", t, [str(n), f"{n}b"]),
                "tool": lambda t=turn, n=number: result(str(n - 1), t),
            }[kind]()
        )
    waiting: list[str] = []
    for record in select_records(messages, Window(max_messages=limit)):
        if record["role"] == "tool":
            assert record["tool_call_id"] in waiting
            waiting.remove(record["tool_call_id"])
        else:
            assert waiting == []
            waiting = [call["id"] for call in record.get("tool_calls", ())]
    assert waiting == []


def test_a_summary_is_sent_first():
    """The summary stands before what came after it, with an answer between it and a question."""
    records = select_messages(
        [user("q", "t"), answer("a", "t")], Window(), Summary(3, "They met.")
    ).records
    assert [m["role"] for m in records] == ["user", "assistant", "user", "assistant"]
    assert records[0]["content"].endswith("They met.")
    assert records[1]["content"] == SUMMARY_TAKEN


def test_a_summary_counts_in_the_budget():
    """What the summary takes is not there for messages."""
    messages = [user("x" * 400, "1"), user("y" * 400, "2")]
    assert len(select_messages(messages, Window(max_tokens=250)).records) == 2
    chosen = select_messages(messages, Window(max_tokens=250), Summary(3, "z" * 200))
    assert [m["content"][:1] for m in chosen.records[2:]] == ["y"]


def test_a_message_over_the_budget_is_sent_and_told():
    """What is asked goes out alone when it is too much by itself, and it is said how much it is."""
    chosen = select_messages([user("q", "1"), user("z" * 4000, "2")], Window(max_tokens=100))
    assert [m["content"][:1] for m in chosen.records] == ["z"]
    assert chosen.oversized_tokens == 1004
    assert select_messages([user("q", "1")], Window(max_tokens=100)).oversized_tokens == 0


def test_a_summary_never_breaks_the_budget():
    """Where a summary does not fit beside the question it is left out, the newest messages fill its room, and it is told."""
    messages = [user("x" * 40, "1"), answer("y" * 40, "1"), user("z" * 40, "2")]
    chosen = select_messages(messages, Window(max_tokens=50), Summary(3, "s" * 400))
    assert [m["content"][:1] for m in chosen.records] == ["x", "y", "z"]
    assert (chosen.oversized_tokens, chosen.tokens) == (0, 42)
    assert chosen.omitted_summary_tokens > 50
    assert (
        select_messages(
            messages, Window(max_tokens=500), Summary(3, "s" * 400)
        ).omitted_summary_tokens
        == 0
    )


def test_tokens_are_estimated_by_bytes_and_kinds():
    """Chinese counts more than English, a picture as much as a page, and data not by its length."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}}
    assert estimate_tokens(Message("user", "a" * 40)) == 14
    assert estimate_tokens(Message("user", "会" * 40)) == 34
    assert estimate_tokens(Message("user", [{"type": "text", "text": "a" * 40}, picture])) == 1014


def counted(text, turn, sent):
    message = answer(text, turn)
    message.model, message.usage = "m", {"input_tokens": sent}
    return message


def test_estimates_are_put_right_by_what_was_counted():
    """A provider that counts twice what we estimate halves what fits; its constant part does not matter."""
    messages = []
    for n in range(4):
        said = user("x" * 400, str(n))
        messages += [said, counted("y" * 400, str(n), 9000 + 416 * n)]
    assert calibration(messages) == 2.0
    assert calibration(messages[:2]) == 1.0
    tokens = select_messages(messages, Window(max_tokens=900)).tokens
    assert tokens == 832


def test_counts_of_another_model_or_window_are_no_measure():
    """Where the count went down, or somebody else counted, the rule of thumb stays."""
    falling = [counted("y" * 4000, "1", 9000), counted("y" * 4000, "2", 3000)]
    assert calibration(falling) == 1.0
    other = [counted("y" * 4000, "1", 100), counted("y" * 4000, "2", 2000)]
    other[1].model = "another"
    assert calibration(other) == 1.0
