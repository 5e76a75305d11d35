"""Turns through the Responses API: tools in several rounds, and reasoning in its place."""

import asyncio

import pytest

from omniagent_cli import open_store
from tests.agent.asking import ASK, ask
from tests.agent.responses_asking import (
    agent_for,
    engine_for,
    inputs,
)
from tests.servers.responses_server import call, output, reasoning, text


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


def test_tool_rounds_and_reasoning_in_place(responses_server, store):
    """Each round sends back the reasoning before the calls it led to; the next turn has all of it again."""
    server = responses_server(
        output(
            reasoning("I look."),
            call("weather", {"city": "Paris"}),
            call("weather", {"city": "Rome"}),
        ),
        output(
            reasoning(), text("And Oslo.", phase="commentary"), call("weather", {"city": "Oslo"})
        ),
        output(reasoning("Done."), text("All rain.", phase="final_answer")),
        output(text("Bye.")),
    )
    with agent_for(server, store, system_prompt="Be brief.") as agent:
        assert agent.process_with_session("s", "Weather?") == "All rain."
        assert agent.process_with_session("s", "Thanks") == "Bye."
    kinds = [
        [(item["type"], item.get("role") or item.get("call_id") or item["id"]) for item in sent]
        for sent in inputs(server)
    ]
    start = [("message", "system"), ("message", "user")]
    first = [
        ("reasoning", "rs_2"),
        ("function_call", "call_3"),
        ("function_call", "call_4"),
        ("function_call_output", "call_3"),
        ("function_call_output", "call_4"),
    ]
    second = [
        ("reasoning", "rs_6"),
        ("message", "assistant"),
        ("function_call", "call_8"),
        ("function_call_output", "call_8"),
    ]
    third = [("reasoning", "rs_10"), ("message", "assistant"), ("message", "user")]
    assert kinds == [
        start,
        start + first,
        start + first + second,
        start + first + second + third,
    ]
    sent = inputs(server)[3]
    assert sent[2]["encrypted_content"] == "gAAAA2=="
    assert sent[2]["summary"] == [{"type": "summary_text", "text": "I look."}]
    assert sent[8]["phase"] == "commentary"
    assert sent[5]["output"] == "Paris: rain"


def test_another_model_gets_no_reasoning(responses_server, store):
    """The reasoning of one model is not sent to another, also of the same provider; it comes back to its own."""
    server = responses_server(
        output(reasoning("Hm"), call("weather", {"city": "Paris"})),
        output(reasoning("Yes"), text("Rain.")),
        output(text("Other.")),
        output(text("Own.")),
    )
    with agent_for(server, store, "one") as agent:
        agent.process_with_session("s", "q")
    with agent_for(server, store, "two") as agent:
        agent.process_with_session("s", "q2")
    with agent_for(server, store, "one") as agent:
        agent.process_with_session("s", "q3")
    own = [[item["id"] for item in sent if item["type"] == "reasoning"] for sent in inputs(server)]
    assert own == [[], ["rs_2"], [], ["rs_2", "rs_5"]]


def test_a_changed_answer_is_sent_as_it_is_now(responses_server):
    """An answer that was edited goes without the reasoning that led to other words."""
    server = responses_server(output(reasoning("Hm"), text("Yes.")))
    engine = engine_for(server)
    end = ask(engine)[-1]
    stored = {"role": "assistant", "content": "No, no.", "extra": end.extra, "model": "openai:m"}
    ask(engine, [*ASK, stored, *ASK])
    assert inputs(server)[1][1:-1] == [
        {"type": "message", "role": "assistant", "content": "No, no."}
    ]


def test_reasoning_that_is_refused_is_left_out(responses_server, store):
    """After a change of account the session continues: reasoning that cannot be verified is not sent again."""
    first = responses_server(output(reasoning("Hm"), text("Yes.")))
    with agent_for(first, store) as agent:
        agent.process_with_session("s", "q")
    second = responses_server(
        output(reasoning("New"), text("Go on.")),
        output(text("End.")),
        refuses=True,
        account="other",
    )
    with agent_for(second, store) as agent:
        assert agent.process_with_session("s", "q2") == "Go on."
        assert agent.process_with_session("s", "q3") == "End."
    assert len(second.refused) == 1
    assert "could not be verified" in second.refused[0]
    ids = [item.get("id") for item in inputs(second)[-1] if item["type"] == "reasoning"]
    assert ids == ["rs_2"]


def test_cut_inside_reasoning(responses_server, store):
    """Reasoning that led to nothing is not sent back alone."""
    server = responses_server(
        output(reasoning("Hm"), status="incomplete", reason="max_output_tokens"), output(text("Ok"))
    )
    with agent_for(server, store) as agent:
        agent.process_with_session("s", "q")
        assert agent.process_with_session("s", "q2") == "Ok"


def test_pictures_and_files(responses_server):
    """Pictures and PDF files have their own parts; what the protocol has no part for is named."""
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    pdf = {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
    }
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    said = {"type": "text", "text": "See"}
    server = responses_server()
    ask(engine_for(server), [{"role": "user", "content": [said, picture, pdf, sound]}])
    assert inputs(server)[0][0]["content"] == [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,AAAA",
        },
        {"type": "input_text", "text": "[audio]"},
    ]


def test_continuing(responses_server, store):
    """A resumed answer stays one message."""
    server = responses_server(
        output(reasoning("Hm"), text("One, "), status="incomplete", reason="max_output_tokens"),
        output(text("two.")),
        output(text("Bye.")),
    )

    async def turns():
        async with agent_for(server, store) as agent:
            await agent.aprocess_with_session("s", "Count")
            assert [event async for event in agent.continue_turn("s")]
            await agent.aprocess_with_session("s", "Thanks")

    asyncio.run(turns())
    assert [m.text for m in store.messages("s")][1] == "One, two."
    sent = inputs(server)
    assert [item["type"] for item in sent[1]] == ["message", "reasoning", "message", "message"]
    assert [item.get("content") for item in sent[2]] == ["Count", "One, two.", "Thanks"]
