"""Tools that write or destroy ask first."""

from __future__ import annotations

import tomllib

import pytest

from omniagent_cli.agent.agent import Agent
from omniagent_cli.agent.tools.tool import Tool
from omniagent_cli.repl.approval import shown_arguments
from omniagent_cli.testing.scripted import Say, ScriptedModel
from tests.repl.talk import CTRL_C, CTRL_D, Talk

PARAMETERS = {"type": "object", "properties": {"what": {"type": "string"}}}


@pytest.fixture
def wiped() -> list[str]:
    """What the tool has wiped."""
    return []


@pytest.fixture
def wiping(talk: Talk, wiped: list[str]):
    """Make agents whose model wipes a thing in each turn, then says so."""

    def wipe(what: str) -> str:
        wiped.append(what)
        return "wiped"

    def make(*things: str, effect: str = "destroy"):
        steps = [
            step for thing in things for step in (Say(calls=[("wipe", {"what": thing})]), "ok")
        ]
        tool = Tool("wipe", "Wipes.", wipe, PARAMETERS, effect=effect)
        return lambda _tell: Agent(ScriptedModel(*steps), store=talk.store, tools=[tool])

    return make


def decided(talk: Talk) -> list[tuple[bool, str]]:
    """What was stored about each decision, in order."""
    extras = [m.extra for m in talk.store.messages("user-123") if m.role == "tool"]
    return [(extra["approved"], extra["approved_by"]) for extra in extras]


@pytest.mark.parametrize(
    ("answer", "done"), [("y", ["a"]), ("yes", ["a"]), ("n", []), ("", []), ("here", ["a"])]
)
def test_a_tool_asks(talk: Talk, wiping, wiped: list[str], answer: str, done: list[str]) -> None:
    """Only a yes lets a tool destroy; the turn goes on either way, and the decision is stored with the call."""
    talk.chat("wipe a", answer, open_agent=wiping("a"))
    assert wiped == done
    assert talk.texts()[-1] == "ok"
    assert decided(talk) == [(bool(done), "asked")]


def test_the_question_shows_what_would_be_done(talk: Talk, wiping) -> None:
    """The tool, its effect and its arguments stand above the question."""
    talk.chat("wipe", "n", open_agent=wiping("the whole disk"))
    assert (
        "The model wants to run wipe, which deletes or overwrites data (destructive):\n  what: the whole disk\n"
        in talk.out
    )
    assert "wipe(what: the whole disk) denied\n" in talk.err


def test_here_is_for_this_session_in_this_run(talk: Talk, wiping, wiped: list[str]) -> None:
    """After here, the same tool asks no more in this session, but in another one and in the next run."""
    talk.chat(
        "one", "h", "two", "/new", "three", "n", "/switch -", "four",
        open_agent=wiping("x", "y", "z", "w"),
    )  # fmt: skip
    assert wiped == ["x", "y", "w"]
    assert decided(talk) == [(True, "asked"), (True, "session"), (True, "session")]
    talk.chat("five", "n", open_agent=wiping("v"))
    assert wiped == ["x", "y", "w"]


def test_always_is_written_down(talk: Talk, wiping, wiped: list[str]) -> None:
    """After always, what writes stands in the person's settings, is said to, and asks in no later run."""
    config = talk.home / ".config" / "omniagent" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('# mine\n[tools]\nallow = ["other"]\n')
    talk.chat("one", "a", "two", open_agent=wiping("x", "y", effect="write"))
    assert tomllib.loads(config.read_text()) == {"tools": {"allow": ["other", "wipe"]}}
    assert config.read_text().startswith("# mine\n")
    assert f"(tools.allow in {config})" in talk.err
    talk.chat("three", open_agent=wiping("z", effect="write"))
    assert wiped == ["x", "y", "z"]
    assert decided(talk) == [(True, "asked"), (True, "config"), (True, "config")]


def test_always_for_what_destroys_is_written_in_full(talk: Talk, wiping, wiped: list[str]) -> None:
    """One letter allows nothing for good that destroys; the whole word does, and says where it stands."""
    talk.chat("one", "a", "sure", "y", "two", "always", "three", open_agent=wiping("x", "y", "z"))
    assert wiped == ["x", "y", "z"]
    assert "[a] always" not in talk.out
    assert "type the whole word always" in talk.out
    config = talk.home / ".config" / "omniagent" / "config.toml"
    assert f"wipe is now allowed in all chats and scripts (tools.allow in {config}" in talk.err
    assert decided(talk)[1:] == [(True, "asked"), (True, "config")]


def test_settings_that_cannot_be_changed_are_told(talk: Talk, wiping, wiped: list[str]) -> None:
    """Always that cannot be written down holds for this run, and says so."""
    open_agent = wiping("x", "y", effect="write")

    def spoilt(tell):
        config = talk.home / ".config" / "omniagent" / "config.toml"  # after the settings were read
        config.parent.mkdir(parents=True)
        config.write_text("tools = 3\n")
        return open_agent(tell)

    talk.chat("one", "a", "two", open_agent=spoilt)
    assert wiped == ["x", "y"]
    assert "Allowed in this run only: tools is not a table" in talk.err


def test_leaving_the_question_stops_the_turn(talk: Talk, wiping, wiped: list[str]) -> None:
    """Ctrl-C at the question refuses and stops the turn; what came is kept."""
    talk.chat(keys=f"wipe\r{CTRL_C}next\r{CTRL_D}", open_agent=wiping("a", "b"))
    assert wiped == []
    roles = [message.role for message in talk.store.messages("user-123")]
    assert roles[:3] == ["user", "assistant", "tool"]
    assert "interrupted" in talk.err


def test_settings_allow_beforehand(talk: Talk, wiping, wiped: list[str]) -> None:
    """A tool that tools.allow names asks nobody, also when it destroys: the person wrote it there."""
    talk.flags = {"tools.allow": ["wipe"]}
    talk.chat("wipe a", open_agent=wiping("a"))
    assert wiped == ["a"]
    assert decided(talk) == [(True, "config")]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\u202eb\x1b[2J\u200b", ["  x: a\\u{202e}b\\u{1b}[2J\\u{200b}"]),
        ({"a": [1, None]}, ['  x: {"a":[1,null]}']),
        ("one\ntwo", ["  x:", "    | one", "    | two"]),
        (
            "h" * 400 + "m" * 1000 + "t" * 100,
            [f"  x: {'h' * 400} ... {'t' * 100} (1,500 characters)"],
        ),
    ],
)
def test_arguments_are_shown_so_that_nothing_hides(value, shown: list[str]) -> None:
    """Invisible characters are codes; a long value is its beginning, its end and its length."""
    assert shown_arguments({"x": value}) == shown


def test_many_lines_and_arguments_are_bounded() -> None:
    """A hundred lines show their first and last ones, a hundred arguments the first of them."""
    lines = shown_arguments({"x": "\n".join(str(n) for n in range(100))})
    assert len(lines) == 13
    assert lines[-3:] == [
        "    ... 89 more lines, 289 characters in all ...",
        "    | 98",
        "    | 99",
    ]
    assert shown_arguments({str(n): n for n in range(100)})[-1] == "  ... and 80 more arguments"
    assert shown_arguments({}) == ["  (no arguments)"]
