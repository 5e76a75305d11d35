"""What TAB offers at the prompt."""

from __future__ import annotations

import asyncio

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from omniagent_cli.config.settings import load_settings
from omniagent_cli.models import Message
from omniagent_cli.repl.chat import Chat, ChatSetup
from omniagent_cli.repl.completers import SlashCompleter
from omniagent_cli.ui.terminal import Terminal
from tests.repl.talk import Talk


@pytest.fixture
def offered(talk: Talk):
    """Return what is offered after a text, as what would stand on the line."""
    setup = ChatSetup(
        store=talk.store,
        terminal=Terminal(environ=talk.environ),
        settings=load_settings(talk.environ, talk.home),
        open_agent=lambda _: pytest.fail("completion asks nobody"),
        open_engine=lambda _: pytest.fail("completion asks nobody"),
        session_id="user-123",
        models=["openai:gpt-6.1-sol", "big"],
    )

    async def ask(*_: str) -> None:
        """Nobody is asked."""

    async def complete(text: str) -> list[tuple[str, str, str]]:
        chat = Chat(setup, ask=ask)
        await chat.look()
        found = SlashCompleter(chat).get_completions(Document(text), CompleteEvent())
        result = [
            (
                text[: len(text) + one.start_position] + one.text,
                one.display_text,
                one.display_meta_text,
            )
            for one in found
        ]
        await chat.aclose()
        return result

    return lambda text: asyncio.run(complete(text))


def test_commands_are_offered_with_their_help(offered) -> None:
    """A slash offers every command, letters in between may be missing."""
    assert "/help" in [line for line, _, _ in offered("/")]
    assert [line for line, _, _ in offered("/swi")] == ["/switch"]
    assert "/switch" in [line for line, _, _ in offered("/sch")]
    assert offered("/tri")[0][2].startswith("Keep the last N")


@pytest.mark.parametrize("text", ["hello", "hello /sw", "//sw", "/nope x", "", "/trim "])
def test_nothing_is_offered_elsewhere(offered, text: str) -> None:
    """Only slash commands complete, and only where something is known."""
    assert offered(text) == []


def test_sessions_are_offered_with_titles(talk: Talk, offered) -> None:
    """/switch offers other sessions with their titles, those that begin so first."""
    talk.store.append("user-123", Message("user", "this one"))
    talk.store.append("a-trip", Message("user", "where to go"))
    talk.store.append("trip", Message("user", "when to go"))
    assert offered("/switch tr") == [
        ("/switch trip", "trip", "when to go"),
        ("/switch a-trip", "a-trip", "where to go"),
    ]


def test_hostile_titles_and_ids(talk: Talk, offered) -> None:
    """Titles are made harmless, and an id that cannot be shown is not put into the line."""
    talk.store.append("plain", Message("user", "x \x1b]0;owned\x07"))
    talk.store.append("e\u202evil", Message("user", "x"))
    talk.store.append("two words", Message("user", "y"))
    found = offered("/switch ")
    assert {line for line, _, _ in found} == {"/switch plain", '/switch "two words"'}
    assert not any("\x1b" in part for offer in found for part in offer)


def test_models_metadata_and_options(talk: Talk, offered) -> None:
    """Models, metadata keys, actions and options are offered in their places."""
    talk.store.append("user-123", Message("user", "x"))
    talk.store.set_metadata("user-123", "timezone", "UTC")
    assert [line for line, _, _ in offered("/model g")] == [
        "/model big",
        "/model openai:gpt-6.1-sol",
    ]
    assert [line for line, _, _ in offered("/retry -m b")] == ["/retry -m big"]
    assert [line for line, _, _ in offered("/retry --")] == ["/retry --model"]
    assert [line for line, _, _ in offered("/meta g")] == ["/meta get"]
    assert [line for line, _, _ in offered("/meta get t")] == ["/meta get timezone"]


def test_files(talk: Talk, offered) -> None:
    """Paths are offered for @FILE, folders with a slash."""
    (talk.home / "notes").mkdir()
    (talk.home / "prompt.txt").touch()
    found = [line for line, _, _ in offered(f"/system @{talk.home}/")]
    assert sorted(found) == [f"/system @{talk.home}/notes/", f"/system @{talk.home}/prompt.txt"]


def test_a_store_that_fails_offers_nothing(talk: Talk, offered) -> None:
    """Completion never breaks the prompt."""
    lines = offered("/help cl")
    talk.store.close()
    assert [line for line, _, _ in lines] == ["/help clear"]


def test_paths_to_attach_are_offered_as_they_are(offered, tmp_path, monkeypatch) -> None:
    """/attach completes names with blanks, in quotes, after a backslash, in ~, and never what cannot be shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (
        "my cat.png",
        "My dog.png",
        "a\x1b[2J.png",
        ".hidden",
        'quo"te.txt',
        "home/in it/x",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    lines = [line for line, _, _ in offered("/attach ")]
    assert lines == [
        "/attach My dog.png",
        "/attach home/",
        "/attach my cat.png",
        '/attach quo"te.txt',
    ]
    assert offered("/attach my c") == [("/attach my cat.png", "my cat.png", "5 bytes")]
    assert [line for line, _, _ in offered("/attach my\\ c")] == ["/attach my cat.png"]
    assert [line for line, _, _ in offered('/attach "my c')] == ['/attach "my cat.png"']
    assert offered('/attach "quo') == []
    assert [line for line, _, _ in offered("/attach .h")] == ["/attach .hidden"]
    assert [line for line, _, _ in offered("/attach ~/in")] == ["/attach ~/in it/"]
    assert [line for line, _, _ in offered("/attach ~/in it/")] == ["/attach ~/in it/x"]
    assert offered("/attach nowhere/") == offered("/attach a\0b/") == []


def test_tools_are_switched_by_completed_words(offered) -> None:
    """`/tools` offers on and off; names come once the tools are known, and nothing is set up to find them."""
    assert [line for line, _, _ in offered("/tools o")] == ["/tools on", "/tools off"]
    assert offered("/tools off x") == []


def test_options_and_what_they_take_are_offered(offered, talk: Talk) -> None:
    """A dash offers the options of a command, and an option the tags, roles and orders that there are."""
    talk.store.set_metadata("old", "tags", ["work", "home"])
    assert [line for line, _, _ in offered("/retry -")] == ["/retry --model"]
    assert "/sessions --older-than" in [line for line, _, _ in offered("/sessions --o")]
    assert [line for line, _, _ in offered("/sessions --tag w")] == ["/sessions --tag work"]
    assert [line for line, _, _ in offered("/sessions --all --tag w")] == [
        "/sessions --all --tag work"
    ]
    assert [line for line, _, _ in offered("/search --role us")] == ["/search --role user"]
    assert [line for line, _, _ in offered("/sessions --sort cr")] == ["/sessions --sort created"]
    assert [line for line, _, _ in offered("/export --format mark")] == [
        "/export --format markdown"
    ]
