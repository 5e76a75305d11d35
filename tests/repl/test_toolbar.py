"""The line at the bottom."""

from types import SimpleNamespace

import pytest

from omniagent_cli.agent.context.context_use import context_use
from omniagent_cli.agent.context.window import Window
from omniagent_cli.models import Message
from omniagent_cli.repl.toolbar import Part, chat_parts, fitted_line
from omniagent_cli.stores import open_store
from omniagent_cli.ui.cells import cell_width

PARTS = [
    Part(["user-123"], keep=5),
    Part(["openai:gpt-6", "gpt-6", ""], keep=4),
    Part(["12 messages", "12", ""], keep=2),
    Part(["context 12%, 3.4k tokens", "context 12%", "12%", ""], keep=3),
    Part(["sqlite", ""], keep=1),
    Part(["multi-line: Alt-Enter sends"], keep=7),
    Part([""]),
]


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            120,
            "user-123 | openai:gpt-6 | 12 messages | context 12%, 3.4k tokens | sqlite | multi-line: Alt-Enter sends",
        ),
        (
            100,
            "user-123 | openai:gpt-6 | 12 messages | context 12%, 3.4k tokens | multi-line: Alt-Enter sends",
        ),
        (72, "user-123 | openai:gpt-6 | context 12% | multi-line: Alt-Enter sends"),
        (46, "user-123 | gpt-6 | multi-line: Alt-Enter sends"),
        (40, "user-123 | multi-line: Alt-Enter sends"),
        (20, "user-123 | multi-li…"),
    ],
)
def test_it_says_less_where_there_is_less_room(width, line):
    """What matters least is said shorter first, then left out, and nothing is wider than the line."""
    assert fitted_line(PARTS, width) == line
    assert cell_width(line) <= width


@pytest.fixture
def store():
    with open_store("memory:") as store:
        yield store


def test_nothing_said_uses_nothing(store):
    """A session that is not there yet has no share to show."""
    assert context_use(store, "s", Window()) is None


def test_tokens_are_those_the_model_counted(store):
    """After an answer the tokens are the provider's count; a share needs a budget of tokens."""
    usage = {"input_tokens": 3000, "output_tokens": 400}
    store.append("s", [Message("user", "q"), Message("assistant", "a", usage=usage)])
    assert context_use(store, "s", Window(max_messages=8)) == (2, None, 3400, False)


def test_tokens_are_estimated_where_nobody_counted(store):
    """After a question without an answer the tokens are an estimate, marked as one."""
    store.append("s", [Message("user", "word " * 400)])
    use = context_use(store, "s", Window(max_messages=8))
    assert use.estimated
    assert 400 < use.tokens < 600


def test_the_share_is_of_the_budget_of_tokens(store):
    """With a budget of tokens the toolbar can show how full it is."""
    usage = {"input_tokens": 900, "output_tokens": 50}
    store.append("s", [Message("user", "q"), Message("assistant", "a", usage=usage)])
    assert context_use(store, "s", Window(8, max_tokens=1000)).share == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("window", "line"),
    [
        (Window(), "user-123 | openai:gpt-6 | 4 messages | 3.4k tokens | memory"),
        (Window(2), "user-123 | openai:gpt-6 | 4 messages (2 sent) | 3.4k tokens | memory"),
        (
            Window(max_tokens=10_000),
            "user-123 | openai:gpt-6 | 4 messages | context 34%, 3.4k tokens | memory",
        ),
    ],
)
def test_the_toolbar_separates_messages_from_tokens(store, window, line):
    """A per cent is of tokens only; messages that the window leaves out are counted as such."""
    usage = {"input_tokens": 3000, "output_tokens": 400}
    turn = [Message("user", "q"), Message("assistant", "a", usage=usage)]
    store.append("user-123", turn * 2)
    chat = SimpleNamespace(
        message_count=4,
        model="openai:gpt-6",
        session_id="user-123",
        setup=SimpleNamespace(ephemeral=False),
        store=store,
        context=context_use(store, "user-123", window),
    )
    assert fitted_line(chat_parts(chat), 100) == line
