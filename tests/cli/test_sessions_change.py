"""`omniagent sessions` rename, fork, touch, title, tag, pin, archive, meta, state and stats."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from omniagent_cli.config.last_used_session import LastUsedSession
from omniagent_cli.models import Message
from tests.cli.scene import FIRST, talk


def test_rename(run, filled):
    """Rename gives another id; onto one that is taken it refuses."""
    ran = run("sessions", "rename", "alice", "telegram:1")
    assert (ran.code, ran.out, ran.err) == (0, "", "Renamed 'alice' to 'telegram:1'\n")
    assert filled.count_messages("telegram:1") == 4
    ran = run("sessions", "rename", "bob", "carol")
    assert ran.code == 1
    assert "already" in ran.err
    assert run("sessions", "rename", "bob", " ").code == 2
    assert run("sessions", "rename", "bo", "x").code == 1


def test_fork_prints_the_new_id(run, filled):
    """Fork copies up to a message and prints the copy's id."""
    assert run("sessions", "fork", "alice", "what-if", "--at", "1").out == "what-if\n"
    assert [m.text for m in filled.messages("what-if")] == ["My name is Alice", "Hello Alice"]
    made = run("sessions", "fork", "alice")
    assert filled.count_messages(made.out.strip()) == 4
    assert run("sessions", "fork", "bob", "b2", "--json").json == {"id": "b2", "forked_from": "bob"}
    assert run("sessions", "fork", "bob", "alice").code == 1
    assert run("sessions", "fork", "bob", "--at", "-1").code == 2
    assert run("sessions", "fork", "nobody", "x").code == 1
    past = run("sessions", "fork", "alice", "--at", "4")
    assert (past.code, past.out) == (2, "")
    assert "'alice' has no message #4; the last is #3" in past.err


def test_touch_and_ttl(run, filled):
    """Touch starts the time to live again, --ttl changes it."""
    assert run("sessions", "touch", "alice").err == "'alice' never expires\n"
    assert run("sessions", "touch", "alice", "--ttl", "1h30m").err == (
        "'alice' expires 1h30m after its last use\n"
    )
    assert filled.header("alice").ttl_seconds == 5400
    assert run("sessions", "touch", "alice", "--ttl", "never").code == 0
    ran = run("sessions", "touch", "alice", "--ttl", "soon")
    assert (ran.code, ran.err) == (
        2, "omniagent: error: 'soon' is not a duration; write it like 30m, 24h, 7d, 1h30m or never\n",
    )  # fmt: skip


def test_title(run, filled):
    """Title takes words with or without quotes."""
    assert (
        run("sessions", "title", "alice", "Holiday", "plans").err
        == "Set the title of 'alice' to 'Holiday plans'\n"
    )
    assert filled.summary("alice").title == "Holiday plans"
    assert run("sessions", "title", "alice", "").code == 0
    assert filled.summary("alice").title == ""


def test_tags(run, filled):
    """Tag adds and removes in one step and prints what there is."""
    assert run("sessions", "tag", "alice", "+work", "+quick", "+vacation").lines == [
        "quick",
        "vacation",
        "work",
    ]
    assert run("sessions", "tag", "alice", "-quick", "-vacation", "+yes").lines == ["work", "yes"]
    assert run("sessions", "tag", "alice", "--json").json == ["work", "yes"]
    for wrong in ("work", "--work", "+", "- "):
        ran = run("sessions", "tag", "alice", wrong)
        assert (ran.code, ran.out) == (2, "")
    assert filled.summary("alice").tags == ["work", "yes"]


def test_pins_and_archive(run, filled):
    """pin, unpin, archive and unarchive take many ids, and one that is missing stops all."""
    assert run("sessions", "pin", "alice", "bob").err == "Changed 2 sessions\n"
    assert run("sessions", "list", "--ids").lines == ["bob", "alice", "carol"]
    assert run("sessions", "unpin", "bob", "alice").code == 0
    assert run("sessions", "archive", "alice").err == "'alice' is archived\n"
    assert "alice" not in run("sessions", "list", "--ids").lines
    assert run("sessions", "unarchive", "alice").err == "'alice' is no longer archived\n"
    assert run("sessions", "pin", "alice", "nobody").code == 1
    assert not filled.summary("alice").pinned
    assert not filled.exists("nobody")


@pytest.mark.parametrize("kind", ["meta", "state"])
def test_values(run, filled, kind):
    """Values are JSON when they parse as such, else text; get tells missing from null."""
    for key, text, value in (
        ("number", "3", 3), ("text", "three", "three"), ("null", "null", None), ("object", '{"a": [1]}', {"a": [1]}),
        ("broken", '{"a": ', '{"a": '), ("nan", "NaN", "NaN"), ("spaces", " x ", " x "),
    ):  # fmt: skip
        ran = run("sessions", kind, "set", "alice", key, text)
        assert (ran.code, ran.out, ran.err) == (0, "", "")
        assert run("sessions", kind, "get", "alice", key, "--json").json == value
    assert run("sessions", kind, "get", "alice", "text").out == "three\n"
    assert run("sessions", kind, "get", "alice", "object").out == '{"a":[1]}\n'
    run("sessions", kind, "set", "alice", "number", "3", "--string")
    assert run("sessions", kind, "get", "alice", "number", "--json").json == "3"
    assert run("sessions", kind, "get", "ali").cells[0] == ["broken", '"{\\"a\\": "']
    assert sorted(run("sessions", kind, "get", "alice", "--json").json) == [
        "broken", "nan", "null", "number", "object", "spaces", "text",
    ]  # fmt: skip
    assert run("sessions", kind, "unset", "alice", "text").code == 0
    ran = run("sessions", kind, "get", "alice", "numbr")
    section = "metadata" if kind == "meta" else "state"
    assert (ran.code, ran.out) == (1, "")
    assert (
        ran.err
        == f"omniagent: error: the session 'alice' has no {section} 'numbr'; did you mean 'number'?\n"
    )
    assert run("sessions", kind, "unset", "alice", "text").code == 1


def test_setting_a_value_makes_the_session_and_says_so(run, store):
    """A value can be set before anything is said; a mistyped id does not pass in silence."""
    ran = run("sessions", "meta", "set", "new", "k", "v")
    assert (ran.code, ran.err) == (0, "Created session 'new'\n")
    assert store.get_metadata("new", "k") == "v"
    assert run("sessions", "meta", "set", "new", " ", "v").code == 2


def test_abbreviations_read(run, filled):
    """Reading commands take the beginning of an id when one session fits; an exact id wins."""
    talk(filled, "al", "short")
    assert run("sessions", "show", "al", "--raw").out == "short\n"
    assert run("sessions", "show", "b", "--raw", "--last", "1").out == "jagen Viktor\n"
    talk(filled, "alfred", "x")
    ran = run("sessions", "show", "alf")
    assert ran.code == 0
    ran = run("sessions", "meta", "get", "a")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == (
        "omniagent: error: 'a' matches 3 sessions: 'al', 'alfred', 'alice'; type more of the id\n"
    )


def test_archived_sessions_are_found_by_name(run, filled):
    """What lists leave out can still be read by its id or the beginning of it."""
    run("sessions", "archive", "alice")
    assert run("sessions", "show", "ali", "--raw", "--last", "1").out == "Alice\n"


def test_the_session_used_last(run, filled, environ_recent):
    """@ is the session this person used last in this store, and told when there is none."""
    ran = run("sessions", "show", "@")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.endswith("name one (3 sessions in the store)\n")
    environ_recent.remember("bob")
    assert run("sessions", "show", "@", "--raw", "--last", "1").out == "jagen Viktor\n"
    assert run("sessions", "pin", "@").err == "'bob' is pinned\n"
    run("sessions", "rename", "@", "robert")
    assert run("sessions", "tag", "@", "+x").code == 0
    assert filled.summary("robert").tags == ["x"]
    run("sessions", "delete", "robert", "-y")
    ran = run("sessions", "show", "@")
    assert (ran.code, ran.err) == (
        1,
        "omniagent: error: there is no session 'robert'; run 'omniagent sessions list' to see all sessions\n",
    )


@pytest.fixture
def environ_recent(filled, home):
    """What chat and ask write."""
    return LastUsedSession(filled.url, {"HOME": str(home)})


def test_what_was_used_last_is_private(environ_recent, home):
    """The note of the last session is for its owner only, and a damaged one counts as empty."""
    environ_recent.remember("alice")
    file = home / ".local/state/omniagent/recent.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert environ_recent.get() == "alice"
    file.write_text("[garbage")
    assert environ_recent.get() is None
    environ_recent.remember("bob")
    assert environ_recent.get() == "bob"


def test_a_session_called_at_is_escaped(run, store, environ_recent):
    """id:@ is the session whose id is @; other ids that begin so are themselves."""
    talk(store, "@", "at")
    talk(store, "id:5", "five")
    assert run("sessions", "show", "id:@", "--raw").out == "at\n"
    assert run("sessions", "show", "id:5", "--raw").out == "five\n"


def test_an_id_that_looks_like_an_option(run, store):
    """After -- everything is an id."""
    talk(store, "--all", "dashes")
    assert run("sessions", "show", "--raw", "--", "--all").out == "dashes\n"
    assert run("sessions", "delete", "--yes", "--", "--all").code == 0
    assert not store.exists("--all")


def test_stats(run, filled):
    """Stats counts sessions, messages by day and tokens per model, and names the largest."""
    filled.append(
        "carol",
        Message(
            "assistant",
            "2",
            model="openai:gpt-6.1-sol",
            usage={"input_tokens": 10, "output_tokens": 5},
        ),
    )
    record = run("sessions", "stats", "--json").json
    assert (record["sessions"], record["archived"], record["messages"]) == (3, 0, 8)
    assert record["roles"] == {"user": 4, "assistant": 4}
    assert record["models"][0] == {
        "model": "openai:gpt-6.1-sol", "answers": 1, "input_tokens": 10, "output_tokens": 5,
    }  # fmt: skip
    assert [row["id"] for row in record["largest"]] == ["alice", "bob", "carol"]
    said = {"messages": 8, "input_tokens": 10, "output_tokens": 5}
    assert record["days"] == [{"day": f"{FIRST.astimezone():%Y-%m-%d}", **said}]
    assert record["months"] == [{"month": "2026-11", **said}]
    assert run("sessions", "stats").cells[:3] == [
        ["sessions", "3"],
        ["archived", "0"],
        ["messages", "8"],
    ]


def test_stats_by_month(run, store, person):
    """Messages and tokens of each month, also of what a summary took, in a pipe and as a table."""
    usage = {"input_tokens": 1000, "output_tokens": 50}
    for month in (1, 2):
        moment = datetime(2026, month, 15, 12, tzinfo=UTC)
        store.append(
            "s", Message("assistant", "x", created_at=moment, usage=usage, model="openai:a")
        )
    store.put_summary(
        "s",
        1,
        {
            "text": "so far",
            "created_at": "2026-02-16T12:00:00Z",
            "usage": usage,
            "model": "openai:b",
        },
    )
    assert [row for row in run("sessions", "stats").cells if row[0] == "month"] == [
        ["month", "2026-01", "1", "1000", "50"],
        ["month", "2026-02", "1", "2000", "100"],
    ]
    with person("sessions", "stats") as terminal:
        assert terminal.wait() == 0
    lines = terminal.shown.splitlines()
    place = lines.index("MONTH    MESSAGES  TOKENS IN  TOKENS OUT")
    assert lines[place + 1 : place + 3] == [
        "2026-02         1      2,000         100",
        "2026-01         1      1,000          50",
    ]


def test_stats_for_a_person(run, filled, person):
    """A terminal sees the same in words and tables, and the days as a map."""
    with person("sessions", "stats") as terminal:
        assert terminal.wait() == 0
    lines = terminal.shown.splitlines()
    assert lines[0] == "3 sessions, 7 messages"
    assert lines[lines.index("LARGEST  MESSAGES  TITLE") - 4 :] == [
        "",
        "MODEL    ANSWERS  TOKENS IN  TOKENS OUT",
        "unknown        3          0           0",
        "",
        "LARGEST  MESSAGES  TITLE",
        "alice           4  My name is Alice",
        "bob             2  Zwölf Boxkämpfer",
        "carol           1  one",
    ]
