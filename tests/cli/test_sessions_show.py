"""`omniagent sessions show` and `search`."""

from __future__ import annotations

import json
import re

import pytest

from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from tests import forked
from tests.cli.scene import talk


def test_a_pipe_gets_header_and_messages(run, filled):
    """A pipe gets names and values, an empty line, and one line per message."""
    filled.append("bob", Message("assistant", "tab\there\nand a \\", status="interrupted"))
    ran = run("sessions", "show", "bob")
    assert (ran.code, ran.err) == (0, "")
    assert ran.cells == [
        ["id", "bob"], ["title", "Zwölf Boxkämpfer"], ["model", ""], ["messages", "3"],
        ["created", "2026-11-01T09:04:00.000000Z"], ["updated", "2026-11-01T09:07:00.000000Z"],
        ["expires", ""], ["metadata", "{}"], [""],
        ["0", "2026-11-01T09:04:00.000000Z", "user", "complete", "Zwölf Boxkämpfer"],
        ["1", "2026-11-01T09:05:00.000000Z", "assistant", "complete", "jagen Viktor"],
        ["2", "2026-11-01T09:07:00.000000Z", "assistant", "interrupted", r"tab\there\nand a \\"],
    ]  # fmt: skip


def test_last_reads_the_end(run, filled):
    """--last N shows the last N messages, 0 none, and a negative number is refused."""
    assert [row[0] for row in run("sessions", "show", "alice", "--last", "2").cells[9:]] == [
        "2",
        "3",
    ]
    assert len(run("sessions", "show", "alice", "--last", "0").lines) == 9
    assert run("sessions", "show", "alice", "--last", "-1").code == 2


def test_json_is_the_session(run, filled):
    """--json prints the record with its messages and their positions."""
    ran = run("sessions", "show", "alice", "--json", "--last", "1")
    record = ran.json
    assert (record["id"], record["message_count"], record["title"]) == (
        "alice",
        4,
        "My name is Alice",
    )
    (message,) = record["messages"]
    assert (message["position"], message["role"], message["content"]) == (3, "assistant", "Alice")


def test_raw_is_the_text_alone(run, store):
    """--raw prints what was said as it was said, ready for a file."""
    talk(store, "s", "q", "# Title\n\n\ttab \x1b[31m")
    assert run("sessions", "show", "s", "--raw", "--last", "1").out == "# Title\n\n\ttab \x1b[31m\n"
    assert run("sessions", "show", "s", "--raw").out == "q\n\n# Title\n\n\ttab \x1b[31m\n"


def test_contradictions_are_refused(run, filled):
    """--json goes with neither --raw nor --follow, which print no one document."""
    for option in ("--raw", "--follow"):
        ran = run("sessions", "show", "alice", "--json", option)
        assert (ran.code, ran.out) == (2, "")


def test_tool_calls_are_shown(run, store):
    """A message that only calls tools is not an empty line."""
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": '{"at": "x"}'}}
    store.append("s", Message("assistant", "", tool_calls=[call]))
    assert run("sessions", "show", "s").cells[-1][4] == '→ look({"at": "x"})'


def test_a_person_sees_markdown(person, db):
    """A terminal shows who said what, when, with Markdown laid out."""
    with open_store(db, ttl=None) as store:
        talk(
            store, "chat", "Make a *list*", "Sure:\n\n- **one**\n- `two`\n\n[link](http://x.test/)"
        )
        store.tag("chat", ["work"])
        store.set_metadata("chat", "project", {"name": "apollo"})
    with person("sessions", "show", "chat") as terminal:
        assert terminal.wait() == 0
    shown = re.sub(r"(\d{4}-\d\d-\d\d )?\d\d:\d\d", "TIME", terminal.shown)
    assert shown.splitlines() == [
        "Make a *list*",
        "chat · 2 messages · updated TIME · created TIME · #work",
        'project: {"name":"apollo"}',
        "",
        "user · #0 · TIME",
        "Make a *list*",
        "",
        "assistant · #1 · TIME",
        "Sure:",
        "",
        " • one",
        " • two",
        "",
        "link (http://x.test/)",
    ]


def test_follow_goes_on(db, store):
    """--follow shows what another process says, each message once and when it is finished."""
    import subprocess

    from tests.cli.scene import environment

    talk(store, "s", "first")
    with forked.start(
        ["-m", "omniagent_cli", "sessions", "show", "s", "--raw", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(db),
    ) as process:  # fmt: skip
        assert process.stdout.readline() == b"first\n"
        uid = store.header("s").uid
        growing = store.checkpoint("s", Message("assistant", "half"), uid=uid).messages[0]
        growing.content, growing.status = "half and half", "complete"
        store.checkpoint("s", growing, uid=uid, final=True)
        assert process.stdout.readline() in (b"half and half\n", b"half\n")
        store.append("s", {"role": "user", "content": "third"})
        assert process.stdout.readline() == b"third\n"
        store.delete("s")
        assert process.wait(timeout=60) == 1
        assert process.stderr.read().startswith(b"omniagent: error: there is no session 's'")


def test_long_output_goes_to_the_pager(person, db, tmp_path):
    """What fills more than the screen is shown by the person's pager; leaving it early is no error."""
    with open_store(db, ttl=None) as store:
        store.append("long", [{"role": "user", "content": f"message {n}"} for n in range(2000)])
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nhead -n 5 > paged\n")
    pager.chmod(0o755)
    with person("sessions", "show", "long", PAGER=str(pager)) as terminal:
        assert terminal.wait() == 0
    assert len((tmp_path / "paged").read_text().splitlines()) == 5
    assert terminal.shown == ""
    with person("sessions", "show", "long", "--last", "1", PAGER="false") as terminal:
        assert terminal.wait() == 0
    assert "message 1999" in terminal.shown


def test_search_in_a_pipe(run, filled):
    """Hits are id, position, created, role and snippet, the newest first; accents and case do not matter."""
    ran = run("sessions", "search", "NAME", "alic*")
    assert ran.cells == [
        ["alice", "0", "2026-11-01T09:00:00.000000Z", "user", "My name is Alice"],
    ]
    assert [row[:2] for row in run("sessions", "search", "alice").cells] == [
        ["alice", "3"], ["alice", "1"], ["alice", "0"],
    ]  # fmt: skip
    assert run("sessions", "search", "boxkampfer").cells[0][0] == "bob"
    assert run("sessions", "search", "nothing such") == type(ran)(1, "", "")


def test_search_is_narrowed(run, filled):
    """A session, a role and a limit narrow a search; what a limit leaves out is told."""
    assert run("sessions", "search", "alice", "--role", "user").cells[0][1] == "0"
    assert run("sessions", "search", "alice", "-s", "bob").out == ""
    assert (
        run("sessions", "search", "alice", "-s", "al", "--limit", "1").err
        == "Showing 1 matches. Use --limit N for more.\n"
    )
    ran = run("sessions", "search", "alice", "--role", "robot")
    assert (ran.code, ran.err) == (
        2,
        "omniagent: error: invalid --role 'robot': must be system, user, assistant or tool\n",
    )
    assert run("sessions", "search", "alice", "-s", "nobody").code == 1


def test_search_filters(run, filled, tmp_path, monkeypatch):
    """Date, tag, metadata, model and directory filter a search, together and before the limit."""
    monkeypatch.chdir(tmp_path)
    filled.write("here", [Message("user", "alice")], origin={"cwd": str(tmp_path)})
    filled.tag("here", ["work"])
    filled.set_metadata("here", "n", 1)
    filled.set_model("here", "openai:gpt-5")
    for options in (
        ["--tag", "work"], ["--meta", "n=1"], ["--here"], ["-m", "gpt-5"], ["--model", "openai:gpt-5"],
        ["--tag", "work", "--here", "-n", "1"],
    ):  # fmt: skip
        assert run("sessions", "search", "alice", "--ids", *options).out == "here\n"
    before = run("sessions", "search", "alice", "--until", "2026-11-01T09:00:00.001Z").cells
    assert [row[:2] for row in before] == [["alice", "0"]]
    assert run("sessions", "search", "alice", "--since", "2126-01-01").code == 1
    assert run("sessions", "search", "alice", "--tag", "work", "--meta", "n=2").code == 1
    assert run("sessions", "search", "alice", "--since", "soon").code == 2


@pytest.mark.parametrize(
    "query", ['"', "*", "'; DROP TABLE x; --", "NEAR(", "a AND", "", "-", "\x00", "()"]
)
def test_a_query_is_never_a_syntax_error(run, filled, query):
    """Anything at all can be looked for."""
    assert run("sessions", "search", "--", query).code in (0, 1)


def test_search_json(run, filled):
    """--json tells where the match stands."""
    (hit,) = run("sessions", "search", "viktor", "--json").json
    assert (hit["session_id"], hit["position"], hit["role"]) == ("bob", 1, "assistant")
    assert [hit["snippet"][slice(*pair)] for pair in hit["matches"]] == ["Viktor"]
    ran = run("sessions", "search", "xyzzy", "--json")
    assert (ran.code, ran.json) == (1, [])


def test_a_person_sees_hits(person, filled):
    """A terminal shows where a hit is and its surroundings."""
    filled.append("alice", Message("user", "## Plan\nViktor is **very** *late*, `viktor()` too"))
    with person("sessions", "search", "viktor") as terminal:
        assert terminal.wait() == 0
    rows = terminal.shown.splitlines()
    assert rows[0].startswith("alice  ")
    assert rows[1].startswith("  user #4 · ")
    assert rows[2:5] == [
        "    Plan Viktor is very *late*, viktor() too",
        "",
        "bob  Zwölf Boxkämpfer",
    ]
    assert rows[5].startswith("  assistant #1 · ")
    assert rows[6:] == ["    jagen Viktor"]
    assert b"\x1b[1;31mViktor" in terminal.raw
    assert b"\x1b[1;31mviktor" in terminal.raw
    with person("sessions", "search", "xyzzy") as terminal:
        assert terminal.wait() == 1
    assert terminal.shown == "No message matches"


def test_hits_of_a_session_share_one_head(person, filled):
    """A terminal shows the id and title of a session once, above all of its hits."""
    with person("sessions", "search", "alice") as terminal:
        assert terminal.wait() == 0
    rows = terminal.shown.splitlines()
    assert [row for row in rows if not row.startswith(" ")] == [rows[0]]
    assert [row.split(" · ")[0] for row in rows if " · " in row] == [
        "  assistant #3", "  assistant #1", "  user #0",
    ]  # fmt: skip


def test_headings_break_between_words(person, filled):
    """At 40 columns the headings of show and search are broken between words, and nothing is left out."""
    filled.append("a session with quite a long name", Message("user", "Zwölf Boxkämpfer " * 6))
    with person("sessions", "show", "bob", columns=40) as terminal:
        assert terminal.wait() == 0
        shown = terminal.shown.splitlines()
    facts = " ".join(shown[1 : shown.index("")])
    assert facts.startswith("bob · 2 messages · updated ")
    assert " · created " in facts
    with person("sessions", "search", "boxkämpfer", columns=40) as terminal:
        assert terminal.wait() == 0
        shown = terminal.shown.splitlines()
    assert max(map(len, shown)) <= 40
    assert "a session with quite a long name" in shown
    assert any(line.startswith("  user #0 · ") for line in shown)
    assert not any(line.strip() in ("Box", "kämpfer", "Zw", "ölf") for line in shown)


USED = {
    "role": "assistant",
    "content": "It is *done*.",
    "model": "a:x",
    "usage": {"input_tokens": 100, "output_tokens": 20},
}


def test_show_tells_what_was_used(run, store):
    """The header has the tokens of the whole session, and their cost when there is a price, also with --last."""
    store.append("s", [{"role": "user", "content": "q"}, USED])
    assert run("sessions", "show", "s", "--json", "--last", "0").json["usage"] == {
        "input_tokens": 100,
        "output_tokens": 20,
    }
    run("config", "set", 'prices."a:x".input', "1")
    run("config", "set", 'prices."a:x".output', "2.5")
    assert run("sessions", "show", "s", "--json").json["usage"] == {
        "input_tokens": 100,
        "output_tokens": 20,
        "cost": 0.00015,
    }
    fields = dict(row for row in run("sessions", "show", "s").cells[:9])
    assert json.loads(fields["usage"])["cost"] == 0.00015


def test_show_has_the_summary_at_its_place(run, store, person):
    """The summary stands behind the last message it stands for, is a field of the JSON, and never raw text."""
    store.append("s", [{"role": "user", "content": f"message {n}"} for n in range(4)])
    store.put_summary("s", 1, {"text": "They said\x1b[2J **little**.", "model": "a:x"})
    assert run("sessions", "show", "s", "--json").json["summary"] == {
        "up_to": 1,
        "text": "They said\x1b[2J **little**.",
        "model": "a:x",
    }
    assert ["summary", "1", "They said\\u001b[2J **little**."] in run("sessions", "show", "s").cells
    assert "little" not in run("sessions", "show", "s", "--raw").out
    with person("sessions", "show", "s") as terminal:
        terminal.wait()
        lines = [line for line in terminal.shown.splitlines() if line]
    place = lines.index("summary · sent instead of the messages up to #1 · a:x")
    assert lines[place - 1] == "message 1"
    assert lines[place + 1] == "They said\ufffd[2J little."
    assert lines[place + 2].startswith("user · #2")
