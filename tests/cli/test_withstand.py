"""Wrong input of every kind gets one clear line and the right exit code, never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

from omniagent_cli.stores import open_store
from tests.cli.scene import environment, talk
from tests.unprivileged import run_unprivileged

HOSTILE = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066\r\n\tend"


def _told(ran, code):
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("omniagent: error: ")
    assert ran.err.count("\n") == 1
    return ran.err.removeprefix("omniagent: error: ").rstrip("\n")


@pytest.mark.parametrize(
    "words",
    [
        ("show", "{}"), ("search", "x", "-s", "{}"), ("trim", "{}", "--keep", "1", "-y"), ("clear", "{}", "-y"),
        ("delete", "{}", "-y"), ("rename", "{}", "new"), ("fork", "{}", "new"), ("touch", "{}"), ("title", "{}", "t"),
        ("tag", "{}", "+t"), ("pin", "{}"), ("unpin", "{}"), ("archive", "{}"), ("unarchive", "{}"),
        ("meta", "get", "{}"), ("meta", "unset", "{}", "k"), ("state", "get", "{}", "k"), ("state", "unset", "{}", "k"),
        ("export", "{}"),
    ],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_ids_that_are_not_there_or_cannot_be(run, filled, words):
    """An unknown id is exit 1 with close matches; a blank, long or control-character id is exit 2."""

    def tell(session_id, code):
        return _told(run("sessions", *(word.format(session_id) for word in words)), code)

    assert tell("alcie", 1) == "there is no session 'alcie'; did you mean 'alice'?"
    assert (
        tell("zzz", 1)
        == "there is no session 'zzz'; run 'omniagent sessions list' to see all sessions"
    )
    assert tell(" ", 2) == "a session id must not be blank"
    assert tell("", 2) == "a session id must not be blank"
    assert tell("ä" * 256 + "x", 2) == "a session id has at most 512 bytes; this one has 513"
    assert tell("a\x1b[31m", 2) == "a session id must not contain control characters"
    assert filled.count() == 3


def test_an_id_of_512_bytes_is_fine(run, store):
    """The longest id that is allowed works."""
    talk(store, "ä" * 256, "x")
    assert run("sessions", "show", "ä" * 256, "--raw").out == "x\n"


def test_ids_that_are_no_text(db, filled):
    """Bytes that are no UTF-8 are refused like any other wrong id."""
    done = subprocess.run(
        [sys.executable, "-m", "omniagent_cli", "sessions", "show", b"\xff\xfe"],
        capture_output=True, env=environment(db), timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"omniagent: error: a session id must be valid Unicode text\n"


READING = (
    "sessions list", "sessions show x", "sessions search x", "sessions export x", "sessions export --all", "sessions stats",
    "sessions delete x -y", "sessions trash", "sessions restore", "sessions pin x", "sessions title x y", "sessions meta get x",
    "sessions prune", "store info", "store check", "store compact", "store backup y", "mcp",
)  # fmt: skip
CREATING = {
    "ask": "ask -qm recall hi", "session": "ask -qm recall -s new hi", "chat": "chat -qm recall", "import": "sessions import one.jsonl",
}  # fmt: skip
MEMORY = (
    ":memory:", "sqlite://", "sqlite:///:memory:", "sqlite::memory:", "file::memory:?cache=shared",
)  # fmt: skip


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("sqlit:///x.db", 2, "unknown store scheme 'sqlit' in sqlit:///x.db; did you mean sqlite:?"),
        ("sqlite://host/x.db", 2, None),
        ("memory:x", 2, None),
        ("{}/x.db", 1, "no store at {}/x.db (--store); check the path, or start a chat there to create it"),
        ("{}/missing/x.db", 1, "no store at {}/missing/x.db (--store); check the path, or start a chat there to create it"),
        ("sqlite:///{}/missing/x.db", 1, None),
        ("sqlite:///{}/x.db?mode=ro", 1, None),
        ("sqlite:///{}/x.db?timeout=5", 2, "unknown parameter in the store URL sqlite:///{}/x.db?timeout=5; use ?mode=ro to open it read-only, and write a question mark in a path as %3F"),
        ("sqlite+aiosqlite:///x.db", 2, "unknown store scheme 'sqlite+aiosqlite' in sqlite+aiosqlite:///x.db; did you mean sqlite:?"),
        ("sqlite:///{}", 3, None),
    ],
)  # fmt: skip
def test_wrong_stores(run, tmp_path, url, code, told):
    """A bad URL is exit 2, a store that does not exist is exit 1, and a directory instead of a file is exit 3."""
    ran = _told(run("sessions", "list", "--store", url.format(tmp_path), store=None), code)
    if told:
        assert ran == told.format(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_store_is_reported_and_created_by_writing(run, tmp_path):
    """A command that reads or changes sessions reports a missing store; one that adds a session creates it."""
    for place in (tmp_path / "a.db", f"sqlite://{tmp_path}/b.db", f"file://{tmp_path}/c"):
        path = str(place).rpartition(":")[2].removeprefix("//")
        for words in READING:
            assert _told(run(*words.split(), store=place), 1) == (
                f"no store at {path} (variable OMNIAGENT_STORE); check the path, or start a chat there to create it"
            )
    run("config", "set", "stores.work.url", str(tmp_path / "d.db"))
    assert f"no store at {tmp_path}/d.db (" in run("sessions", "list", store="@work").err
    assert list(tmp_path.iterdir()) == []
    deep = tmp_path / "b/c/d.db"
    assert run("sessions", "meta", "set", "x", "k", "1", store=deep).code == 0
    assert deep.stat().st_mode & 0o777 == 0o600
    assert deep.parent.stat().st_mode & 0o777 == 0o700
    for name, words in CREATING.items():
        (tmp_path / "one.jsonl").write_text(
            json.dumps({"messages": [{"role": "user", "content": "x"}]})
        )
        place = tmp_path / name / "new.db"
        assert run(*words.split(), store=place, stdin=b"hello\n").code == 0
        assert place.exists()


def test_the_default_store_is_empty_until_it_exists(run):
    """Without a named store, reading before the first chat finds nothing, and creates nothing."""
    for words, code in (("sessions list", 0), ("store info", 0), ("sessions show x", 1)):
        ran = run(*words.split(), store=None)
        assert (ran.code, "no store at" in ran.err) == (code, False)


@pytest.mark.parametrize("url", MEMORY)
def test_databases_in_memory_are_not_files(run, tmp_path, url):
    """What SQLAlchemy and the Agents SDK take for a database in memory keeps nothing on disk."""
    assert run("ask", "-q", "-m", "recall", "-s", "s", "hello", store=url).code == 0
    assert run("sessions", "list", store=url).out == ""
    assert run("store", "info", "--json", store=url).json["url"] == "memory:"
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_url(run, filled, db, tmp_path):
    """mode=ro reads a store, refuses every change, and creates nothing."""
    before = db.read_bytes()
    for url in (f"sqlite://{db}?mode=ro", f"file://{tmp_path}?mode=ro"):
        run("sessions", "list", "--store", url, store=None)
        assert "read-only" in _told(run("ask", "-qm", "recall", "-s", "alice", "x", store=url), 3)
    assert run("sessions", "list", "--ids", store=f"sqlite://{db}?mode=ro").lines[0] == "carol"
    assert "read-only" in _told(run("sessions", "pin", "alice", store=f"sqlite://{db}?mode=ro"), 3)
    assert db.read_bytes() == before
    missing = f"sqlite://{tmp_path}/missing.db?mode=ro"
    assert run("ask", "-qm", "recall", "-s", "alice", "x", store=missing).code == 3
    assert not (tmp_path / "missing.db").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--store", "{}", "sessions", "list"), 3),
        (("--store", "{}/x.db", "sessions", "list"), 3),
        (("--store", "file://{}", "sessions", "list"), 3),
        (("--store", "{}", "sessions", "meta", "set", "a", "k", "1"), 3),
        (("--config", "{}", "config", "get", "model"), 2),
        (("--config", "{}", "config", "set", "model", "recall"), 2),
        (("--config", "{}", "config", "unset", "model"), 2),
        (("store", "backup", "{}"), 3),
        (("store", "backup", "{}/x"), 2),
        (("store", "migrate", "{}", "memory:"), 3),
        (("sessions", "export", "alice", "-o", "{}"), 1),
        (("sessions", "import", "{}"), 1),
        (("ask", "-m", "recall", "-a", "{}", "hi"), 2),
        (("ask", "-m", "recall", "--system", "@{}", "hi"), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_names_no_disk_can_hold(run, filled, tmp_path, words, code):
    """A path that the system refuses to look at is one line that names it, wherever it stands."""
    name = f"{tmp_path}/{'x' * 300}"
    assert name in _told(run(*(word.format(name) for word in words)), code)


def test_files_that_are_not_ours(run, tmp_path):
    """Text, another program's database and rubbish are told as not ours, exit 3, and stay as they were."""
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("these are my notes, " * 20)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    for file in (text, other):
        before = file.read_bytes()
        for words in (("list",), ("meta", "set", "a", "k", "1"), ("delete", "a", "-y")):
            assert str(file) in _told(run("sessions", *words, store=file), 3)
        assert file.read_bytes() == before


def test_a_damaged_file_is_told(run, filled, db):
    """A store whose pages are overwritten is exit 3, and never empty."""
    for number in range(200):
        talk(filled, f"s{number}", "word " * 200)
    filled.close()
    data = bytearray(db.read_bytes())
    data[4096:40960] = os.urandom(36864)
    db.write_bytes(data)
    ran = run("sessions", "list")
    assert (ran.code, ran.err.count("\n")) == (3, 1)
    assert "damaged" in ran.err


def test_a_newer_store_is_refused(run, filled, db):
    """A store written by a newer version is told as such."""
    filled.close()
    with sqlite3.connect(db) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert "newer" in _told(run("sessions", "list"), 3)


@pytest.fixture
def read_only(filled, db, tmp_path):
    """A copy of the store in a place that cannot be written."""
    filled.close()
    place = tmp_path / "read-only"
    place.mkdir()
    copy = place / "sessions.db"
    shutil.copyfile(db, copy)
    copy.chmod(0o444)
    place.chmod(0o555)
    yield copy
    place.chmod(0o755)


def test_a_read_only_place(read_only):
    """A store that cannot be written is read, and writing to it is exit 3."""
    environ = environment(read_only, HOME=str(read_only.parent / "missing"))
    listed = run_unprivileged("sessions", "list", "--ids", environ=environ)
    assert (listed.returncode, listed.stdout) == (0, b"carol\nbob\nalice\n"), listed.stderr
    refused = run_unprivileged("sessions", "pin", "alice", environ=environ)
    assert (refused.returncode, refused.stdout) == (3, b""), refused.stderr
    assert refused.stderr.count(b"\n") == 1
    assert b"cannot be written" in refused.stderr


def test_a_locked_store_is_told(run, filled, db, monkeypatch):
    """A store that another process holds is waited for, and then told as in use, exit 3."""
    from omniagent_cli.stores.backends.sqlite import file as sqlite_file

    monkeypatch.setattr(sqlite_file, "WAIT_SECONDS", 0.3)
    with sqlite3.connect(db, isolation_level=None) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        told = _told(run("sessions", "pin", "alice"), 3)
        holder.execute("ROLLBACK")
    holder.close()
    assert told == f"the store {db} is in use by another process; try again later"


def test_bad_json_is_text(run, filled):
    """A value that is no JSON is text, not an error."""
    assert run("sessions", "meta", "set", "alice", "k", "{bad").code == 0
    assert filled.get_metadata("alice", "k") == "{bad"


def test_negative_numbers_are_refused(run, filled):
    """Negative counts are exit 2 wherever a count is asked for."""
    for words in (
        ("trim", "alice", "--keep", "-1", "-y"), ("list", "--limit", "-1"), ("show", "alice", "--last", "-1"),
        ("search", "x", "--limit", "-1"), ("fork", "alice", "--at", "-1"),
    ):  # fmt: skip
        assert "-1: must be 0 or more" in _told(run("sessions", *words), 2)
    assert filled.count_messages("alice") == 4


@pytest.fixture
def hostile(db):
    """A store in which everything that can hold text holds what drives terminals."""
    with open_store(db, ttl=None) as store:
        session_id = "evil\u202e\u2066id"
        talk(store, session_id, HOSTILE, f"# {HOSTILE}\n\n`{HOSTILE}` [x](javascript:{HOSTILE})")
        store.set_title(session_id, HOSTILE)
        store.tag(session_id, [f"tag{HOSTILE}"])
        store.set_metadata(session_id, f"key{HOSTILE}", HOSTILE)
        store.set_model(session_id, HOSTILE)
        talk(store, "trashed\u202e", HOSTILE)
        store.set_title("trashed\u202e", HOSTILE)
        store.delete("trashed\u202e")
        call = {"id": "1", "type": "function", "function": {"name": HOSTILE, "arguments": HOSTILE}}
        store.append(session_id, {"role": "assistant", "content": "", "tool_calls": [call]})
        store.append(session_id, {"role": "tool", "content": HOSTILE, "name": HOSTILE})
    return session_id


FORBIDDEN = (b"\x1b]", b"\x07", b"\x9b", b"\xc2\x9b", "\u202e".encode(), "\u2066".encode())


@pytest.mark.parametrize(
    "words",
    [
        ("list",), ("show", "{}"), ("show", "{}", "--raw"), ("show", "{}", "--json"), ("search", "end"),
        ("list", "--ids"), ("list", "--json"), ("trash",), ("trash", "--json"), ("meta", "get", "{}"),
        ("meta", "get", "{}", "key" + HOSTILE), ("tag", "{}"), ("stats",), ("export", "{}"), ("show", "{}x\u202e"),
        ("export", "{}", "--format", "markdown"), ("export", "{}", "--format", "text"), ("pin", "{}"),
        ("meta", "get", "{}", "nokey\u202e"), ("rename", "{}", "\u202eother"), ("tag", "{}", "+\u202e"),
        ("fork", "{}", "\u202efork"), ("restore",), ("show", "\x1b]0;x\x07"), ("\x1b]0;x\x07",), ("list", "--\x1b]0;x\x07"),
    ],
    ids=lambda words: ascii(" ".join(words))[:40],
)  # fmt: skip
@pytest.mark.parametrize("color", ["always", "never"])
def test_nothing_stored_drives_a_terminal(person, hostile, words, color):
    """Control characters, OSC, CSI and bidi marks in anything stored or typed never reach a terminal."""
    words = [word.replace("{}", hostile) for word in words]
    with person("--color", color, "sessions", *words) as terminal:
        terminal.wait()
    for forbidden in FORBIDDEN:
        assert forbidden not in terminal.raw
    if color == "never":
        assert b"\x1b" not in terminal.raw


def test_a_pipe_gets_what_was_stored(run, hostile, db):
    """In a pipe nothing is lost: escapes that can be undone, and JSON that means the same."""
    (record,) = run("sessions", "list", "--json").json
    assert (record["id"], record["title"]) == (hostile, HOSTILE)
    (line,) = run("sessions", "list").lines
    assert line.split("\t")[0] == "evil\\u202e\\u2066id"
    assert run("sessions", "list", "--ids").out == f"{hostile}\n"
    assert run("sessions", "show", hostile, "--json").json["messages"][0]["content"] == HOSTILE
