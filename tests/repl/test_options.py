"""Slash commands take the words and options of the command line."""

from __future__ import annotations

import pytest

from omniagent_cli.models import Message
from tests.repl.talk import Talk


@pytest.fixture
def stocked(talk: Talk) -> Talk:
    """A person with three sessions."""
    for number in range(3):
        talk.store.append(
            f"old-{number}",
            [Message("user", f"a key sk-{'x' * 40}{number}"), Message("assistant", "a lock")],
        )
    talk.store.set_metadata("old-1", "tags", ["work"])
    talk.store.set_metadata("old-2", "customer", {"name": "Acme"})
    return talk


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        ("", {"old-0", "old-1", "old-2"}),
        ("--tag work", {"old-1"}),
        ("-t work", {"old-1"}),
        ("--tag=work", {"old-1"}),
        ("--tag work --tag home", set()),
        ('--meta \'customer={"name": "Acme"}\'', {"old-2"}),
        ("--limit 1", {"old-2"}),
        ("--sort id --limit 1", {"old-0"}),
        ("--since 1h", {"old-0", "old-1", "old-2"}),
        ("--older-than 90d", set()),
        ("--until 2020-01-01", set()),
        ("--archived", set()),
        ("--all", {"old-0", "old-1", "old-2"}),
        ("old-0 --since today", {"old-0"}),
    ],
)
def test_sessions_takes_the_options_of_list(stocked: Talk, options: str, listed: set[str]) -> None:
    """/sessions is narrowed down by the options of `sessions list`, before its words and after them."""
    stocked.chat(f"/sessions {options}")
    assert "error" not in stocked.err
    assert {name for name in ("old-0", "old-1", "old-2") if name in stocked.out} == listed


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ("lock", ["old-2 #1", "old-1 #1", "old-0 #1"]),
        ("lock --limit 1", ["old-2 #1"]),
        ("--session old-0 lock", ["old-0 #1"]),
        ("lock -s old-0", ["old-0 #1"]),
        ("a --role user -s old-0", ["old-0 #0"]),
        ('"a lock" --limit 1', ["old-2 #1"]),
        ("lock --until 2000-01-01", []),
        ("lock --tag no-such-tag", []),
        ("lock --since 2000-01-01 --limit 1", ["old-2 #1"]),
        ('"lock a"', []),
    ],
)
def test_search_takes_the_options_of_search(stocked: Talk, options: str, places: list[str]) -> None:
    """/search looks in one session, or for what one role said, wherever the options stand."""
    stocked.chat(f"/search {options}")
    assert "error" not in stocked.err
    found, session_id = [], ""
    for line in stocked.out.splitlines():
        if line and not line.startswith(" "):
            session_id = line.split()[0]
        elif " · " in line:
            found.append(f"{session_id} {line.split()[1]}")
    assert found == places


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("/sessions --wrong x", "--wrong is not an option of this command"),
        ("/sessions --tag", "--tag needs TAG"),
        ("/sessions --sort size", "cannot sort by 'size'"),
        ("/sessions --since never", "invalid --since 'never'"),
        ("/sessions --meta x", "invalid --meta 'x'"),
        ("/sessions --all=yes", "--all takes no value"),
        ("/sessions --until 1h --older-than 1h", "not both"),
        ("/sessions --limit -1", "invalid --limit -1"),
        ("/search --role me x", "invalid --role 'me'"),
        ("/search --role user", "QUERY is missing"),
        ("/search -s nothing x", "no session 'nothing'"),
        ("/history 0", "N must be 1 or more"),
        ("/save .", "is a directory"),
        ("/delete ol", "full ids only; 'old-0'"),
        ("/delete nothing", "no session 'nothing'"),
        ("/HELP", "did you mean /help?"),
    ],
)
def test_wrong_options_get_one_line(talk: Talk, typed: str, told: str) -> None:
    """An option that is wrong is told, and never taken for words to look for."""
    talk.store.append("old-0", [Message("user", "hello")])
    talk.chat(typed)
    (line,) = [line for line in talk.err.splitlines() if "error:" in line]
    assert told in line


def test_trim_and_history_as_on_the_command_line(talk: Talk) -> None:
    """/trim --keep N and /history --last N are what they are there; the numbers alone will do."""
    talk.chat("one", "two", "three", "/trim --keep 4", "/history --last 1", "/trim 2")
    assert "2 messages trimmed" in talk.err
    assert "The last 1 of 4 messages" in talk.err
    assert talk.texts() == ["three", "answer 3"]


def test_export_as_on_the_command_line(stocked: Talk) -> None:
    """/export --format F -o FILE writes it; --redact masks keys there and on the screen."""
    path = stocked.home / "a.md"
    stocked.chat(
        f"/export --redact --format text -o {path}", "/export --redact", session_id="old-0"
    )
    assert "a lock" in path.read_text()
    assert "sk-x" not in path.read_text()
    shown = stocked.out.partition('{"format"')[2]
    assert "a lock" in shown
    assert "sk-x" not in shown


def test_meta_as_on_the_command_line(talk: Talk) -> None:
    """/meta set --string takes a number for text, and /meta get without a key shows all."""
    talk.chat("/meta set --string year 2026", "/meta set age 7", "/meta get")
    assert talk.store.header("user-123").metadata == {"year": "2026", "age": 7}
    assert "year" in talk.out
    assert "age" in talk.out


def test_a_title_can_come_first(talk: Talk) -> None:
    """/title before the first message brings the session into being, and the message leaves the title alone."""
    talk.chat("/title My plans", "hello")
    assert talk.store.header("user-123").title == "My plans"
    assert talk.texts() == ["hello", "answer 1"]


def test_another_session_is_deleted_and_comes_back(stocked: Talk) -> None:
    """/delete ID --yes deletes another session, the chat stays where it is, and /undo brings it back."""
    stocked.chat("hello", "/delete old-1 --yes", "/undo", "/delete old-0 --yes", "still here")
    assert stocked.store.exists("old-1")
    assert not stocked.store.exists("old-0")
    assert stocked.texts() == ["hello", "answer 1", "still here", "answer 2"]


def test_delete_asks_unless_told(stocked: Talk) -> None:
    """/delete asks about another session too; Enter alone is no."""
    stocked.chat("/delete old-1", "", "hello")
    assert "Nothing deleted" in stocked.err
    assert stocked.store.exists("old-1")
