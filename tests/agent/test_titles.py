"""Titles by a model: in the background, cleaned, and never over one that a person gave."""

import asyncio
import time

import pytest

from omniagent_cli import Agent, open_store
from omniagent_cli.agent.context.titles import TitleSettings, clean_title
from omniagent_cli.errors import ModelUnreachable, UsageError
from omniagent_cli.testing.scripted import Say, ScriptedModel


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


def naming(*script):
    return ScriptedModel(*script, name="scripted:namer")


def until(ok):
    """Wait for what happens in the background."""
    end = time.monotonic() + 20
    while not ok():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.002)


def test_the_first_words_are_the_title_at_once(store):
    """Without a model for it, a session is called by how it begins."""
    with Agent(ScriptedModel("Hello"), store=store) as agent:
        agent.process_with_session("s", "How do I bake bread?\nI have flour.")
    assert (store.header("s").title, store.header("s").title_source) == (
        "How do I bake bread?",
        "auto",
    )


def test_a_model_names_the_session_once(store):
    """After the first answer the model is asked with both, as data, and not again."""
    namer = naming('Title: "Baking bread with\x1b[31m rye"')
    with Agent(ScriptedModel("With yeast.", "Yes."), store=store, titles=namer) as agent:
        agent.process_with_session("s", "How do I bake bread?")
        until(lambda: store.header("s").title_source == "model")
        agent.process_with_session("s", "Sure?")
    assert store.header("s").title == "Baking bread with\ufffd[31m rye"
    (request,) = namer.requests
    assert "never an instruction" in request[0]["content"]
    assert "[user]\nHow do I bake bread?\n\n[assistant]\nWith yeast." in request[1]["content"]


def test_the_answer_does_not_wait_for_a_title(store):
    """A model that hangs on the title delays neither the answer, nor the next one, nor the end."""
    namer = naming(Say("", hang=True))
    with Agent(ScriptedModel("one", "two"), store=store, titles=namer) as agent:
        assert agent.process_with_session("s", "first") == "one"
        until(lambda: namer.requests)
        assert agent.process_with_session("s", "second") == "two"
    assert store.header("s").title == "first"


def test_a_title_a_person_gave_stays(store):
    """Given before, the model is not asked; given meanwhile, its answer is dropped."""
    store.append("mine", {"role": "user", "content": "x"})
    store.set_title("mine", "My own")

    class Slow(ScriptedModel):
        async def stream(self, messages, tools, settings):
            store.set_title("s", "Given meanwhile")
            async for event in super().stream(messages, tools, settings):
                yield event

    namer = Slow("A title")
    with Agent(ScriptedModel("1", "2"), store=store, titles=namer) as agent:
        agent.process_with_session("mine", "hello")
        agent.process_with_session("s", "hello")
        until(lambda: namer.requests and not agent._titles._tasks)
    assert store.header("mine").title == "My own"
    assert store.header("s").title == "Given meanwhile"
    assert len(namer.requests) == 1


@pytest.mark.parametrize("step", [Say(raises=ModelUnreachable("nobody home")), Say(" ")])
def test_trouble_is_only_for_who_asks(store, step):
    """A failure is told quietly, in one line, and the turn knows nothing of it."""
    told = []
    titling = TitleSettings(lambda: naming(step), told.append)
    with Agent(ScriptedModel("fine"), store=store, titles=titling) as agent:
        events = list(agent.stream_sync("hello", "s"))
        until(lambda: told)
    assert not [event for event in events if type(event).__name__ == "Notice"]
    assert told[0].startswith("No title from a model for s: ")
    assert store.header("s").title == "hello"


def test_a_bug_in_a_model_is_told_the_same_way(store):
    """Even what nobody expects does not show up in a conversation."""
    told = []
    titling = TitleSettings(lambda: naming(Say(raises=RuntimeError("oops"))), told.append)
    with Agent(ScriptedModel("fine"), store=store, titles=titling) as agent:
        agent.process_with_session("s", "hello")
        until(lambda: told)
    assert told == ["No title from a model: RuntimeError('oops')"]


def test_the_current_model_names_its_session(store):
    """``current`` is the model that answered, also when it answered this once."""
    model = ScriptedModel("an answer", "A fine title")
    with Agent(ScriptedModel(), store=store, titles="current") as agent:

        async def turn():
            async for _ in agent.stream("hello", "s", engine=model):
                pass
            while agent._titles._tasks:
                await asyncio.sleep(0)

        asyncio.run(turn())
    assert store.header("s").title == "A fine title"


def test_recall_names_nothing(store):
    """It is no language model: as the current model it is not asked, and it cannot be chosen."""
    with Agent("recall", store=store, titles="current") as agent:
        agent.process_with_session("s", "hello")
        assert not agent._titles._tasks
    with pytest.raises(UsageError, match="not a language model"):
        Agent(ScriptedModel(), store=store, titles="recall")


def test_stateless_questions_have_no_title(store):
    """Where nothing is kept nothing is named."""
    namer = naming()
    with Agent(ScriptedModel("a"), store=store, titles=namer) as agent:
        agent.process("hello")
    assert namer.requests == []


CLEANED = {
    "Baking bread": "Baking bread",
    '"Baking bread."': "Baking bread",
    "# Title: **Baking bread**\n\nIt is about bread.": "Baking bread",
    "\n\n  Titel\uff1a „Brot backen“  ": "Brot backen",
    "a\tb\x00c": "a b\ufffdc",
    "x" * 500: "x" * 59 + "…",
    "***": "",
}


@pytest.mark.parametrize(("said", "title"), CLEANED.items())
def test_what_a_model_says_becomes_one_plain_line(said, title):
    """Quotes, Markdown, labels, further lines and control characters are no part of a title."""
    assert clean_title(said) == title
