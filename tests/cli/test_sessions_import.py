"""`sessions import`: what a person is told and asked, what a script gets, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from omniagent_cli.stores import open_store
from tests import forked
from tests.cli.scene import environment

PLACES = {
    ".codex/sessions/2026/11/21/rollout-2026-11-21T08-00-00-0197a1f0-1111-7000-8000-000000000001.jsonl": "codex",
    ".codex/archived_sessions/rollout-2026-01-01T08-00-00-0197a1f0-1111-7000-8000-000000000002.jsonl": "codex",
    ".claude/projects/-home-alice/0000aaaa-0000-4000-8000-000000000003.jsonl": "claude-code",
    ".gemini/tmp/project/chats/session-2026-11-21T08-29-d214ac71.jsonl": "gemini",
    ".config/aichat/sessions/oslo.yaml": "aichat",
}


def history(format_name: str, words: str) -> bytes:
    """A conversation of a tool, in which these words are said."""
    said = {"role": "user", "content": words}
    lines: dict[str, list] = {
        "codex": [
            {"type": "session_meta", "payload": {"id": words}},
            {"type": "response_item", "payload": {"type": "message", "role": "user", "content": [{"type": "input_text", "text": words}]}},
        ],
        "claude-code": [{"type": "user", "uuid": "u", "parentUuid": None, "sessionId": words, "message": said}],
        "gemini": [{"sessionId": words, "projectHash": "p"}, {"id": "1", "type": "user", "content": words}],
    }  # fmt: skip
    if format_name == "aichat":
        return f"model: m\nmessages:\n- role: user\n  content: {words}\n".encode()
    return "".join(json.dumps(line) + "\n" for line in lines[format_name]).encode()


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A home directory with the histories of four tools, and nothing that moves them."""
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR", "LLM_USER_PATH", "AICHAT_CONFIG_DIR", "AICHAT_SESSIONS_DIR", "XDG_CONFIG_HOME", "QWEN_HOME", "GOOSE_PATH_ROOT", "OPENCODE_DB"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    here = tmp_path / "home"
    for number, (place, format_name) in enumerate(PLACES.items()):
        path = here / place
        path.parent.mkdir(parents=True)
        path.write_bytes(history(format_name, f"{format_name} {number}"))
    monkeypatch.setenv("HOME", str(here))
    return here


def test_discover_lists_in_a_pipe(run, home) -> None:
    """Tool, files, bytes and place, tab-separated; nothing is imported."""
    ran = run("sessions", "import", "--discover")
    assert ran.code == 0
    assert [(cells[0], cells[1], cells[3]) for cells in ran.cells] == [
        ("codex", "1", f"{home}/.codex/sessions"),
        ("codex", "1", f"{home}/.codex/archived_sessions"),
        ("claude-code", "1", f"{home}/.claude/projects"),
        ("gemini", "1", f"{home}/.gemini/tmp/project/chats"),
        ("aichat", "1", f"{home}/.config/aichat/sessions"),
    ]
    assert "Nothing imported" in ran.err
    assert run("sessions", "list").out == ""


def test_discover_as_json(run, home) -> None:
    """One document, with each place once."""
    found = run("sessions", "import", "--discover", "--format", "codex", "--json").json
    size = len(history("codex", "codex 0"))
    assert found[0] == {
        "format": "codex",
        "path": f"{home}/.codex/sessions",
        "files": 1,
        "new": 1,
        "bytes": size,
    }
    assert len(found) == 2


def test_discover_yes_imports_all_of_it_once(run, home) -> None:
    """Every place, and a second time nothing."""
    ran = run("sessions", "import", "--discover", "--yes")
    assert ran.code == 0
    ids = run("sessions", "list", "--ids").lines
    assert len(ids) == 5
    assert "claude-code-claude-code 2" in ids
    again = run("sessions", "import", "--discover", "--yes", "--json")
    assert [(one["imported"], one["skipped"]) for one in again.json] == [(0, 0)] * 5
    assert again.err == "nothing has changed since the last import\n"
    only = run(
        "sessions", "import", "--discover", "--yes", "--format", "gemini", "--dry-run", "--json"
    )
    assert [one["format"] for one in only.json] == ["gemini"]


def test_discover_reads_only_what_changed(run, home) -> None:
    """After a week, only written files are read, and their sessions are continued; a replaced store gets everything."""
    assert run("sessions", "import", "--discover", "--yes").code == 0
    path = next((home / ".claude/projects").rglob("*.jsonl"))
    line = {"type": "assistant", "uuid": "v", "parentUuid": "u", "sessionId": "claude-code 2", "message": {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]}}  # fmt: skip
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    found = run("sessions", "import", "--discover", "--json").json
    assert [one["format"] for one in found if one["new"]] == ["claude-code"]
    again = run("sessions", "import", "--discover", "--yes", "--json").json
    assert [one["messages"] for one in again] == [0, 0, 1, 0, 0]
    other = run("--store", "other.db", "sessions", "import", "--discover", "--yes", "--json").json
    assert [one["imported"] for one in other] == [1] * 5


def test_a_file_with_problems_is_read_again(run, home) -> None:
    """A damaged file is reported at each import until it is repaired."""
    path = next((home / ".codex/sessions").rglob("*.jsonl"))
    path.write_bytes(path.read_bytes() + b"{damaged\n")
    for _ in range(2):
        ran = run("sessions", "import", "--discover", "--yes", "--format", "codex")
        assert ran.code == 1
        assert f"{path}:3" in ran.err


def test_watch_imports_what_is_new(run, home, monkeypatch) -> None:
    """`--watch` imports at once, then whatever is written, until Ctrl-C."""
    path = next((home / ".codex/sessions").rglob("*.jsonl"))
    rounds = iter(range(2))

    def pause(_seconds: float) -> None:
        if next(rounds, None) is None:
            raise KeyboardInterrupt
        new = path.with_name(path.name.replace("0001.jsonl", "0009.jsonl"))
        new.write_bytes(history("codex", "codex new"))

    monkeypatch.setattr("omniagent_cli.cli.sessions.import_found.time.sleep", pause)
    ran = run("sessions", "import", str(home / ".codex/sessions"), "--watch")
    assert ran.code == 130
    assert "Watching for new sessions" in ran.err
    assert ran.err.count("Imported 1 session") == 2
    assert "codex-codex new" in run("sessions", "list", "--ids").lines


def test_discover_follows_the_variables_of_the_tools(run, home, monkeypatch, tmp_path) -> None:
    """Each tool's own variable moves its place, and its usual place is not looked into then."""
    moved = tmp_path / "moved"
    for variable, place, format_name in [
        ("CODEX_HOME", "sessions/a.jsonl", "codex"),
        ("CLAUDE_CONFIG_DIR", "projects/p/a.jsonl", "claude-code"),
        ("AICHAT_SESSIONS_DIR", "a.yaml", "aichat"),
    ]:
        path = moved / variable / place
        path.parent.mkdir(parents=True)
        path.write_bytes(history(format_name, "moved"))
        monkeypatch.setenv(variable, str(moved / variable))
    for variable, value, below in [
        ("LLM_USER_PATH", "llm", "logs.db"),
        ("QWEN_HOME", "qwen", "projects/p/chats/a.jsonl"),
        ("GOOSE_PATH_ROOT", "goose", "data/sessions/sessions.db"),
        ("OPENCODE_DB", "opencode.db", ""),
    ]:
        file = moved / value / below
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"SQLite format 3\0")
        monkeypatch.setenv(variable, str(moved / value))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(moved / "config"))
    found = {cells[3] for cells in run("sessions", "import", "--discover").cells}
    assert found == {
        f"{moved}/CODEX_HOME/sessions",
        f"{moved}/CLAUDE_CONFIG_DIR/projects",
        f"{moved}/AICHAT_SESSIONS_DIR",
        f"{moved}/llm/logs.db",
        f"{moved}/qwen/projects/p/chats",
        f"{moved}/goose/data/sessions/sessions.db",
        f"{moved}/opencode.db",
        f"{home}/.gemini/tmp/project/chats",
    }


def test_discover_asks_about_each_place_at_a_terminal(person, home, db) -> None:
    """What is not wanted is not imported; Enter alone means no."""
    with person("sessions", "import", "--discover", HOME=str(home)) as program:
        program.wait_for("Import 1 file of codex")
        assert "TOOL" in program.shown
        program.say("y")
        program.wait_for("archived_sessions? [y/N]")
        program.say("")
        program.wait_for("of claude-code")
        program.say("y")
        program.wait_for("of gemini")
        program.say("n")
        program.wait_for("of aichat")
        program.say("nonsense")
        assert program.wait() == 0
    with open_store(db) as store:
        assert sorted(s.id for s in store.list()) == ["claude-code-claude-code 2", "codex-codex 0"]


def test_discover_without_anything_to_find(run, tmp_path, monkeypatch) -> None:
    """It is said, and that is no failure."""
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    ran = run("sessions", "import", "--discover")
    assert (ran.code, ran.out) == (0, "")
    assert "No history of another tool" in ran.err
    assert run("sessions", "import").code == 2
    assert run("sessions", "import", "--discover", "x.json").code == 2


def test_names_of_hostile_files_are_shown_harmless(run, home) -> None:
    """They cannot drive a terminal, in a list or in a problem."""
    odd = home / ".codex" / "sessions" / "\x1b[2Ja\nb.jsonl"
    odd.write_bytes(b"{nonsense")
    (home / ".gemini" / "tmp" / "\x1b]0;x\x07" / "chats").mkdir(parents=True)
    (home / ".gemini" / "tmp" / "\x1b]0;x\x07" / "chats" / "a.json").write_bytes(b"[")
    listed = run("sessions", "import", "--discover")
    told = run("sessions", "import", "--discover", "--yes")
    assert told.code == 1
    for text in (listed.out, listed.err, told.out, told.err):
        assert "\x1b" not in text
        assert "\x07" not in text


def test_a_closed_directory_among_others(run, home) -> None:
    """It costs itself only."""
    closed = home / ".claude" / "projects"
    closed.chmod(0)
    try:
        ran = run("sessions", "import", "--discover")
        assert {"codex", "gemini", "aichat"} <= {cells[0] for cells in ran.cells}
    finally:
        closed.chmod(0o700)


def test_what_a_conversation_says_cannot_reach_the_terminal(run, tmp_path) -> None:
    """Titles, roles and ids of an import stand in messages and lists with their controls made visible."""
    evil = "\x1b]52;c;ZXZpbA==\x07\x1b[2J"
    lines = [
        {
            "id": evil,
            "conversations": [{"from": evil, "value": evil}, {"from": "human", "value": evil}],
        },
        {"id": "ok", "conversations": [{"from": "human", "value": "fine"}]},
    ]
    (tmp_path / "a.json").write_text(json.dumps(lines))
    ran = run("sessions", "import", "a.json", "-v")
    assert ran.code == 1
    assert run("sessions", "import", "a.json", "--strict").code == 1
    for text in (ran.err, run("sessions", "list").out, run("sessions", "search", "fine").out):
        assert "\x1b" not in text


def big(path: Path, sessions: int) -> None:
    """Write many conversations of 200 messages each."""
    with path.open("w") as file:
        file.write("[")
        for number in range(sessions):
            said = [
                {"from": "gpt" if n % 2 else "human", "value": f"{number} {n} " + "word " * 100}
                for n in range(200)
            ]
            file.write(
                ("," if number else "") + json.dumps({"id": f"{number:04}", "conversations": said})
            )
        file.write("]")


def test_ctrl_c_leaves_whole_sessions_only(db, tmp_path, run) -> None:
    """One line, exit 130; what came in is whole, and importing again brings the rest."""
    big(tmp_path / "big.json", 300)
    command = ["-m", "omniagent_cli", "sessions", "import", "big.json"]
    with forked.start(
        command, stderr=subprocess.PIPE, env=environment(db), cwd=tmp_path
    ) as program:
        try:
            seen = 0
            while seen < 3 and program.poll() is None:
                if db.exists():
                    with open_store(db) as store:
                        seen = store.count()
            program.send_signal(signal.SIGINT)
            _, err = program.communicate(timeout=60)
        finally:
            program.kill()
    assert program.returncode == 130
    assert err.decode().splitlines() == [
        "Interrupted; complete sessions were imported. Import again to add the rest"
    ]
    with open_store(db) as store:
        came = [summary.message_count for summary in store.list()]
        assert 3 <= len(came) < 300
        assert set(came) == {200}
    ran = run("sessions", "import", "big.json", "--json")
    assert (ran.json[0]["imported"], ran.json[0]["skipped"]) == (300 - len(came), len(came))


def test_progress_has_rate_and_time_left(person, tmp_path) -> None:
    """On a terminal, for a directory too, and it is gone at the end."""
    (tmp_path / "many").mkdir()
    for number in range(3):
        big(tmp_path / "many" / f"{number}.json", 120)
    with person("sessions", "import", "many", columns=120) as program:
        program.wait_for("MB/s", timeout=60)
        shown = program.shown
        assert program.wait(timeout=100) == 0
        assert "left" in shown
        assert "MB/s" not in program.shown
        assert "Imported 120 sessions" in program.shown


def test_progress_is_for_terminals(run, tmp_path) -> None:
    """A pipe gets none of it."""
    big(tmp_path / "a.json", 5)
    ran = run("sessions", "import", "a.json")
    assert ran.err == "Imported 5 sessions (1,000 messages)\n"
