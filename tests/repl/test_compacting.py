"""Summing up and counting at the prompt: /compact, /usage, and what /history shows of it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from omniagent_cli.errors import ModelUnreachable
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.repl.talk import Talk


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def test_compact_says_what_it_covers_and_loses_nothing(talk: Talk) -> None:
    """/compact tells who summarizes what, and afterwards what is sent instead; all messages stay."""
    model = ScriptedModel("1", "2", "3", "4", "They *counted*.", "5")
    shown = talk.chat("a", "b", "c", "d", "/compact keep the numbers", "e", "/history", model=model)
    assert "scripted:model summarizes 4 messages; Ctrl-C cancels" in shown
    assert (
        "The summary is sent instead of the messages up to #3 (4 messages) from now on; 10 tokens in, 5 out; "
        "/history shows it; no message was removed"
    ) in shown
    assert model.requests[4][0]["content"].endswith("instructions: keep the numbers")
    assert [m["content"] for m in model.requests[5]][2:] == ["c", "3", "d", "4", "e"]
    assert talk.texts() == ["a", "1", "b", "2", "c", "3", "d", "4", "e", "5"]
    history = talk.out[talk.out.index("user · #0") :]
    place = history.index("summary · sent instead of the messages up to #3 · scripted:model")
    assert history.index("#3 ·") < place < history.index("#4 ·")
    assert "They *counted*." in history


def test_compact_with_another_model(talk: Talk) -> None:
    """-m lets another model sum up, this once."""
    other = ScriptedModel("sum", name="other:model")
    talk.models["other:model"] = other
    shown = talk.chat("a", "b", "/compact -m other:model be brief")
    assert "other:model summarizes 2 messages" in shown
    assert other.requests[0][0]["content"].endswith("be brief")
    assert talk.store.last_summary("user-123")["model"] == "other:model"


def test_compact_that_fails_changes_nothing(talk: Talk) -> None:
    """What went wrong is one line, and the chat goes on as it was."""
    model = ScriptedModel("1", "2", Say(raises=ModelUnreachable("nobody home")), "3")
    shown = talk.chat("a", "b", "/compact", "c", model=model)
    assert "error: nobody home" in shown
    assert talk.store.last_summary("user-123") is None
    assert [m["content"] for m in model.requests[3]] == ["a", "1", "b", "2", "c"]


def test_compact_that_is_interrupted_changes_nothing(talk: Talk) -> None:
    """Ctrl-C while the model writes a summary says that everything is as it was."""

    class Interrupted(ScriptedModel):
        async def stream(self, messages, tools, settings):
            if len(self.requests) == 2:
                signal.raise_signal(signal.SIGINT)
            async for event in super().stream(messages, tools, settings):
                yield event

    model = Interrupted("1", "2", Say("half", hang=True), "3")
    shown = talk.chat("a", "b", "/compact", "c", model=model)
    assert "Nothing was summarized; the session is unchanged" in shown
    assert talk.store.last_summary("user-123") is None
    assert talk.texts()[-1] == "3"


def test_compact_where_there_is_nothing(talk: Talk) -> None:
    """A session without messages, with one turn, or with recall, says so in one line."""
    shown = talk.chat("/compact", "a", "/compact")
    assert "'user-123' has no messages yet" in shown
    assert "the newest turn is always sent in full" in shown


def test_usage_by_model_and_of_the_last_turn(talk: Talk) -> None:
    """/usage adds up by model, summaries too, and tells the last turn; without prices there is no cost."""
    talk.models["other:model"] = ScriptedModel("z", name="other:model")
    shown = talk.chat("a", "b", "/compact -m other:model", "/usage")
    rows = [line.split() for line in shown.splitlines()]
    assert ["MODEL", "ANSWERS", "INPUT", "OUTPUT"] in rows
    assert ["other:model", "0", "10", "5"] in rows
    assert ["scripted:model", "2", "20", "10"] in rows
    assert "Total: 30 tokens in, 15 out\n" in shown
    assert "Last turn: 10 tokens in, 5 out\n" in shown


def test_usage_costs_what_is_configured(talk: Talk) -> None:
    """With a price for the model there is a cost, and cached tokens have a column."""
    talk.flags = {'prices."scripted:model".input': 2, 'prices."scripted:model".output': 10}
    used = {"input_tokens": 1_000_000, "cached_tokens": 400, "output_tokens": 100_000}
    shown = talk.chat("a", "/usage", model=ScriptedModel(Say("1", usage=used)))
    rows = [line.split() for line in shown.splitlines()]
    assert ["scripted:model", "1", "1,000,000", "400", "100,000", "$3.00"] in rows
    assert "Last turn: 1,000,000 tokens in (400 cached), 100,000 out, $3.00" in shown


def test_usage_where_nothing_was_counted(talk: Talk) -> None:
    """A model that tells no counts is no error."""
    assert "No token counts" in talk.chat("a", "/usage", model=ScriptedModel(Say("1", usage={})))
