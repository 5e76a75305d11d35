"""The built-in answerer: honest about what it is, and it finds what was said."""

import pytest

from omniagent_cli import Agent, open_store


@pytest.fixture
def ask():
    with open_store("memory:") as store, Agent("recall", store=store) as agent:
        yield lambda text: agent.process_with_session("s", text)


def test_first_answer_says_what_it_is(ask):
    """The first answer says that it is no language model and how to set one up."""
    assert "not a language model" in ask("hello")


def test_finds_what_was_said(ask):
    """A question is answered with the words of the person, and when they were said."""
    ask("My name is Alice")
    ask("I live in Paris")
    assert ask("What's my name?") == 'You said just now: "My name is Alice"'
    assert ask("where do I live") == 'You said just now: "I live in Paris"'


def test_accents_and_scripts(ask):
    """Recall finds across accents, case and scripts without spaces."""
    ask("Mein Hund heißt Ärger")
    ask("我的名字是王明")
    assert "Ärger" in ask("arger?")
    assert "王明" in ask("名字?")


def test_does_not_quote_questions(ask):
    """What was only asked is no answer."""
    ask("What is the secret word?")
    assert "nothing about that" in ask("secret word?")


def test_stateless_recall_has_nothing_to_look_in():
    """Without a session it says what it is."""
    with Agent("recall") as agent:
        assert "not a language model" in agent.process("hello")


def test_pins_itself():
    """The first answer pins the model to the session."""
    with open_store("memory:") as store, Agent("recall", store=store) as agent:
        agent.process_with_session("s", "hi")
        assert store.header("s").model == "recall"
