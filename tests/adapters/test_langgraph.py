"""Stores as checkpoint savers of LangGraph, with its conformance suite."""

import asyncio
from uuid import uuid4

import pytest

from tests.stores.test_contract import CASES

pytest.importorskip("langgraph.checkpoint.conformance")

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint import conformance
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.base.id import uuid6

from omniagent_cli import open_store
from omniagent_cli.adapters.langgraph import OmniCheckpointSaver
from omniagent_cli.cli import main
from omniagent_cli.errors import SessionExists


@pytest.fixture(params=["memory", "sqlite", "file", "redis", "postgres", "sqlite-both"])
def store(request, tmp_path):
    with CASES[request.param].open(tmp_path) as opened:
        yield opened


def config(thread="t", **more):
    return {"configurable": {"thread_id": thread, "checkpoint_ns": "", **more}}


def checkpoint(**values):
    return {**empty_checkpoint(), "id": str(uuid6()), "channel_values": values}


TALK = [
    HumanMessage("How tall is the minster?", id="1"),
    AIMessage([{"type": "text", "text": "Let me see."}], id="2", tool_calls=[{"id": "c", "name": "height", "args": {"of": "minster"}}]),
    ToolMessage("161 m", tool_call_id="c", id="3"),
    AIMessage("It has 161 metres.", id="4"),
]  # fmt: skip


def test_the_conformance_suite(store):
    """All tests of all capabilities that the saver has pass; only pruning is left out."""

    @conformance.checkpointer_test(name=str(uuid4()))
    async def saver():
        yield OmniCheckpointSaver(store)

    report = asyncio.run(conformance.validate(saver))
    failed = [failure for result in report.results.values() for failure in result.failures]
    assert failed == []
    assert report.passed_all()
    assert {name for name, result in report.results.items() if not result.detected} == {"prune"}
    assert sum(result.tests_passed for result in report.results.values()) > 50


def test_the_synchronous_interface(store):
    """What was put is got and listed, from another object too, and writes belong to their checkpoint in order."""
    saver, other = OmniCheckpointSaver(store), OmniCheckpointSaver(store)
    first = saver.put(config(), checkpoint(n=1), {"source": "input", "step": -1}, {})
    other.put_writes(first, [("a", {1, 2}), ("b", b"\0")], "task", "path")
    saver.put_writes(first, [("a", "ignored, as it was written before")], "task", "path")
    saver.put_writes(first, [("c", 3)], "another", "")
    second = other.put(first, checkpoint(n=2), {"source": "loop", "step": 0}, {})
    assert saver.get_tuple(config()).config == second
    found = saver.get_tuple(first)
    assert found.checkpoint["channel_values"] == {"n": 1}
    assert found.pending_writes == [
        ("another", "c", 3),
        ("task", "a", {1, 2}),
        ("task", "b", b"\0"),
    ]
    assert saver.get_tuple(second).parent_config == first
    assert [one.config for one in saver.list(None, filter={"source": "loop"})] == [second]
    assert [one.config for one in saver.list(None, limit=1)] == [second]
    assert saver.get_tuple(config("other")) is None
    saver.delete_thread("t")
    assert other.get_tuple(config()) is None
    again = saver.put(config(), checkpoint(n=3), {}, {})
    assert [one.config for one in other.list(config())] == [again]


def test_the_messages_of_a_graph(tmp_path, capsys, monkeypatch):
    """Messages of the state are stored once: listed by the question, shown with calls, and found by their words."""
    monkeypatch.setenv("OMNIAGENT_STORE", f"sqlite://{tmp_path}/s.db")
    with open_store(tmp_path / "s.db") as store:
        saver, place = OmniCheckpointSaver(store), config("trip/1")
        for count in (1, 2, 3, 4):
            place = saver.put(place, checkpoint(messages=TALK[:count]), {"step": count}, {})
        assert saver.get_tuple(config("trip/1")).checkpoint["channel_values"]["messages"] == TALK
        texts = [message.text for message in store.messages("langgraph/trip%2F1") if message.text]
        assert texts == ["How tall is the minster?", "Let me see.", "161 m", "It has 161 metres."]
    assert main(["sessions", "list"]) == 0
    assert "How tall is the minster?" in capsys.readouterr().out
    assert main(["sessions", "show", "langgraph/trip%2F1"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("How tall", "height", "161 m", "It has 161 metres."))
    assert main(["sessions", "search", "metres"]) == 0
    assert "langgraph/trip" in capsys.readouterr().out


def test_a_copy_needs_a_new_name(store):
    """A thread is not copied over another one."""
    saver = OmniCheckpointSaver(store)
    for thread in ("a", "b"):
        saver.put(config(thread), checkpoint(n=1), {}, {})
    with pytest.raises(SessionExists):
        saver.copy_thread("a", "b")


def test_many_tasks_write_at_once(store):
    """Writes of concurrent tasks are all kept."""

    async def use():
        saver = OmniCheckpointSaver(store)
        place = await saver.aput(config(), checkpoint(n=1), {}, {})
        await asyncio.gather(
            *(saver.aput_writes(place, [("c", n)], f"task{n:02}") for n in range(20))
        )
        return (await saver.aget_tuple(config())).pending_writes

    assert asyncio.run(use()) == [(f"task{n:02}", "c", n) for n in range(20)]
