"""`omniagent sessions list`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from omniagent_cli.models import Message, Session
from omniagent_cli.stores import open_store
from tests.cli.scene import FIRST, talk


def test_a_pipe_gets_tab_separated_lines(run, filled):
    """A pipe gets id, title, messages, updated, model, marks and tags, uncut, without a heading."""
    filled.tag("bob", ["work", "old"])
    filled.set_metadata("alice", "pinned", True)
    filled.set_model("carol", "openai:gpt-6.1-sol")
    ran = run("sessions", "list")
    assert (ran.code, ran.err) == (0, "")
    assert ran.cells == [
        ["alice", "My name is Alice", "4", "2026-11-01T09:03:00.000000Z", "", "pinned", ""],
        ["carol", "one", "1", "2026-11-01T09:06:00.000000Z", "openai:gpt-6.1-sol", "", ""],
        ["bob", "Zwölf Boxkämpfer", "2", "2026-11-01T09:05:00.000000Z", "", "", "old,work"],
    ]


def test_json_is_one_document_of_summaries(run, filled):
    """--json prints a list of records and nothing else."""
    ran = run("sessions", "list", "--json", "--limit", "1")
    assert (ran.code, ran.err.startswith("2 more")) == (0, False)
    (record,) = ran.json
    assert record == {
        "id": "carol", "title": "one", "agent_id": "", "model": "", "message_count": 1, "preview": "one",
        "created_at": "2026-11-01T09:06:00.000000Z", "updated_at": "2026-11-01T09:06:00.000000Z",
        "modified_at": "2026-11-01T09:06:00.000000Z",
        "expires_at": None, "metadata": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ((), ["carol", "bob", "alice"]),
        (("--sort", "id"), ["alice", "bob", "carol"]),
        (("--sort", "messages"), ["alice", "bob", "carol"]),
        (("--sort", "created"), ["carol", "bob", "alice"]),
        (("--limit", "2"), ["carol", "bob"]),
        (("--limit", "0"), []),
        (("--meta", "team=3"), ["bob"]),
        (("--meta", 'team="3"'), []),
        (("--meta", "team=3", "--meta", "x=y"), []),
        (("--tag", "work"), ["alice"]),
        (("--all",), ["carol", "bob", "alice", "dave"]),
        (("--archived",), ["dave"]),
        (("--since", "2026-11-01T09:05:00Z"), ["carol", "bob"]),
        (("--until", "2026-11-01T09:05:00Z"), ["alice"]),
        (("--since", "2099-01-01"), []),
        (("--older-than", "1s"), ["carol", "bob", "alice"]),
        (("--older-than", "99w"), []),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_choosing(run, store, options, ids):
    """Sort, limit, metadata, tags, times and archived choose what is listed; --ids prints ids alone."""
    talk(store, "dave", "old")
    store.set_metadata("dave", "archived", True)
    talk(store, "alice", "a", "b", "c")
    store.tag("alice", ["work"])
    talk(store, "bob", "a", "b")
    store.set_metadata("bob", "team", 3)
    talk(store, "carol", "a")
    ran = run("sessions", "list", "--ids", *options)
    assert ran.code == 0
    assert sorted(ran.lines) == sorted(ids)
    if "--since" not in options:
        assert ran.lines == ids


def test_what_was_used_lately(run, db):
    """--since takes how long ago, today and yesterday."""
    with open_store(db, ttl=None) as store:
        talk(store, "now", "hello")
    for text in (
        "1h",
        "today",
        "yesterday",
        f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M}Z",
    ):
        assert run("sessions", "list", "--ids", "--since", text).lines == ["now"]
    assert run("sessions", "list", "--ids", "--until", "1h").lines == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--limit", "-1"), "invalid --limit -1: must be 0 or more"),
        (("--sort", "size"), "cannot sort by 'size'; choose one of updated, created, messages, id"),
        (("--meta", "team"), "invalid --meta 'team': write it like --meta project=apollo"),
        (("--since", "lately"), "invalid --since 'lately': must be a date such as 2026-11-21, a time such as 2026-11-21T09:30, or an age such as 7d"),
        (("--older-than", "7x"), "--older-than: '7x' is not a duration; write it like 30m, 24h, 7d, 1h30m or never"),
        (("--older-than", "never"), "invalid --older-than 'never': must be an age such as 90d"),
        (("--limit", "1", "--all"), "use either --limit or --all, not both"),
        (("--until", "1d", "--older-than", "1d"), "use either --until or --older-than, not both"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_wrong_options_are_told(run, filled, options, told):
    """A wrong value is exit 2 and one line that says what would be right."""
    ran = run("sessions", "list", *options)
    assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


def test_a_limit_says_how_many_more_there_are(run, filled):
    """What a limit leaves out is counted on stderr."""
    assert (
        run("sessions", "list", "--ids", "--limit", "1").err
        == "Showing 1 of 3. Use --all or --limit N.\n"
    )
    assert run("sessions", "list", "--ids", "--limit", "3").err == ""


def test_a_pipe_gets_all_of_many(run, store):
    """In a pipe nothing is left out without being asked for, whatever the number."""
    for number in range(503):
        store.append(f"s{number:04}", {"role": "user", "content": "x"})
    assert run("sessions", "list", "--ids").lines == [f"s{n:04}" for n in reversed(range(503))]


def test_a_person_sees_a_table(person, db):
    """A terminal shows 20 sessions as a table with relative times, and how many more there are."""
    with open_store(db, ttl=None) as store:
        for number in range(23):
            talk(store, f"session-{number:02}", f"question {number}")
        store.tag("session-07", ["work"])
        store.set_metadata("session-03", "pinned", True)
    with person("sessions", "list", columns=70) as terminal:
        assert terminal.wait() == 0
    assert terminal.shown.splitlines() == [
        "ID          TITLE        MSGS  USED  MARKS",
        "session-03  question 3      1  now   pinned",
        *(
            f"session-{n:02}  question {n:<2}     1  now{'   #work' if n == 7 else ''}"
            for n in range(22, 3, -1)
        ),
        "Showing 20 of 23. Use --all or --limit N.",
    ]


def test_a_long_title_is_cut_to_the_terminal(person, db):
    """A table never is wider than the terminal, whatever the width of its characters."""
    with open_store(db, ttl=None) as store:
        talk(store, "wide", "漢字" * 40)
        talk(store, "long", "word " * 40)
    with person("sessions", "list", columns=50) as terminal:
        terminal.wait()
    lines = terminal.shown.splitlines()
    assert len(lines) == 3
    assert all(line.endswith("  now") for line in lines[1:])
    assert lines[2].split()[1].endswith("…")


def test_a_person_without_sessions_is_told_how_to_begin(person):
    """An empty store is no empty screen."""
    with person("sessions", "list", OMNIAGENT_STORE="") as terminal:
        assert terminal.wait() == 0
    assert terminal.shown == "No sessions yet. Start one: omniagent chat"
    with person("sessions", "list", "--tag", "none", OMNIAGENT_STORE="") as terminal:
        terminal.wait()
    assert terminal.shown == "No session matches"


def test_colours_are_a_choice(person, filled):
    """A dumb terminal and --color never give plain text, NO_COLOR no color; --color always wins."""
    for more, words, colored in (
        ({}, (), True),
        ({"NO_COLOR": "1"}, (), False),
        ({"TERM": "dumb"}, (), False),
        ({}, ("--color", "never"), False),
        ({"NO_COLOR": "1"}, ("--color", "always"), True),
        ({"OMNIAGENT_DISPLAY_COLOR": "never"}, (), False),
    ):
        with person("sessions", "list", *words, **more) as terminal:
            terminal.wait()
        has_color = re.search(rb"\x1b\[[0-9;]*3[0-7]m", terminal.raw) is not None
        assert has_color == colored, (more, words)
        assert (b"\x1b[" in terminal.raw) == (colored or "NO_COLOR" in more), (more, words)


def test_what_is_not_shown_is_not_all_counted(run, store):
    """A list of a store that holds very many does not go through them to say how many more there are."""
    for number in range(1_012):
        message = Message("user", "x", id="m", created_at=FIRST, position=0)
        store.publish(None, Session(f"s{number}"), messages=[message])
    assert run("sessions", "list", "--limit", "12", "--ids").err == (
        "Showing 12 of 1,012. Use --all or --limit N.\n"
    )
    assert run("sessions", "list", "--limit", "11", "--ids").err == (
        "Showing 11 of more than 1,011. Use --all or --limit N.\n"
    )


def test_one_shot_questions_are_counted_not_listed(person, run, db, monkeypatch):
    """On a terminal questions of `ask` are left out until they are continued, tagged or named; --asks, --all and pipes have them."""
    monkeypatch.setenv("OMNIAGENT_MODEL", "recall")
    with open_store(db, ttl=None) as store:
        talk(store, "chat", "hello", "hi")
    for question in ("one", "two", "three"):
        assert run("ask", question).code == 0
    run("ask", "--session", "named", "four")
    ids = run("sessions", "list", "--ids").lines
    assert len(ids) == 5
    run("sessions", "tag", ids[1], "+kept")
    with person("sessions", "list") as terminal:
        assert terminal.wait() == 0
    rows = [line.split()[0] for line in terminal.shown.splitlines()]
    assert rows == ["ID", "named", ids[1], "chat", "2"]
    assert terminal.shown.endswith("2 one-shot questions not listed. Use --asks.")
    for option in ("--asks", "--all"):
        with person("sessions", "list", option) as terminal:
            terminal.wait()
        assert sorted(line.split()[0] for line in terminal.shown.splitlines()[1:]) == sorted(ids)
