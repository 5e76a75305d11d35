"""The line at the bottom."""

import pytest

from omniagent_cli.agent.context.context_use import context_use
from omniagent_cli.agent.context.window import Window
from omniagent_cli.models import Message
from omniagent_cli.repl.toolbar import Part, fitted_line
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
    """After an answer the tokens are the provider's count; the share is of the window's messages."""
    usage = {"input_tokens": 3000, "output_tokens": 400}
    store.append("s", [Message("user", "q"), Message("assistant", "a", usage=usage)])
    use = context_use(store, "s", Window(max_messages=8))
    assert (use.share, use.tokens, use.estimated) == (0.25, 3400, False)


def test_tokens_are_estimated_where_nobody_counted(store):
    """After a question without an answer the tokens are our estimate, and said to be one."""
    store.append("s", [Message("user", "word " * 400)])
    use = context_use(store, "s", Window(max_messages=8))
    assert use.estimated
    assert 400 < use.tokens < 600


def test_the_fuller_budget_is_the_share(store):
    """With a budget of tokens the share is of the one that runs out first."""
    usage = {"input_tokens": 900, "output_tokens": 50}
    store.append("s", [Message("user", "q"), Message("assistant", "a", usage=usage)])
    assert context_use(store, "s", Window(8, max_tokens=1000)).share == pytest.approx(0.95)
