"""Hostile files of every tool: problems are reported with locations, the rest is imported, nothing hangs."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import struct
import subprocess
import threading
import zipfile
from pathlib import Path

import pytest
from conversations import imported, texts
from golden_inputs import FORMAT_OF, GOLDEN, placed
from test_newer_exports import MAKERS, chatgpt, claude_code, codex

from omniagent_cli.formats.importer import import_path, import_stream
from omniagent_cli.stores import open_store

DEEP = b"[" * 100_000 + b"]" * 100_000
JSON_FILES = [name for name in FORMAT_OF if name.endswith((".json", ".jsonl"))]


@pytest.fixture
def store():
    with open_store("memory:", ttl=None) as opened:
        yield opened


def spoiled(name: str, value: bytes) -> bytes:
    """Return a golden file with a value in place of the last text of a message."""
    data = (GOLDEN / name).read_bytes()
    words = (b'"Flat too"', b'"I could not look."', b'"It holds 42."', b'"HTML."', b'"API Error: overloaded"',
             b'"read @a.txt"', b'"By voice too."', b'"Yes"', b'"One."', b'"Yes."', b'"Carp."', b'"Minnows."',
             b'"Sticklebacks and minnows."')  # fmt: skip
    word = max((one for one in words if one in data), key=data.rfind)
    before, _, after = data.rpartition(word)
    return before + value + after


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("value", [DEEP, b"NaN", b"1e999", b'"\xff\xfe"', b"9" * 5000], ids=["deep", "nan", "huge", "bytes", "digits"])  # fmt: skip
def test_a_value_that_cannot_be_kept_costs_its_message(name, value, store, tmp_path) -> None:
    """An unsupported value is reported with its location, and the sessions are imported."""
    path = tmp_path / name
    path.write_bytes(spoiled(name, value))
    report = import_path(store, path)
    assert report.problem_count in (1, 2)  # the value, and the message that is invalid without it
    assert {problem.location.startswith(str(path)) for problem in report.problems} == {True}
    assert report.imported
    assert not report.ok
    with open_store("memory:", ttl=None) as other:
        assert import_path(other, path, strict=True).stopped
        assert other.count(archived=None) == 0


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize("value", [b'"\\ud800"', b'"\\u001b[2J\\u0007"', b'"a\\u0000b"'], ids=["half", "escape", "nul"])  # fmt: skip
def test_odd_text_is_kept_as_it_is(name, value, store, tmp_path) -> None:
    """Lone surrogates and control characters are stored unchanged."""
    path = tmp_path / name
    path.write_bytes(spoiled(name, value))
    report = import_path(store, path)
    assert report.ok
    said = [text for s in store.list(archived=None) for text in texts(store, s.id)]
    assert any(json.loads(value) in text for text in said)


@pytest.mark.parametrize("make", MAKERS.values())
@pytest.mark.parametrize(
    "bad", ["x" * 600, "a\x1b[31mb", "../../etc/passwd", "", " ", "\ud800", "a\0b", "ä" * 300]
)
def test_hostile_ids(make, bad, store) -> None:
    """Ids of any length and content are imported the same each time."""
    data = make("a", "b").replace(b'"c"', json.dumps(bad).encode())
    data = data.replace(b'"n1"', json.dumps(bad).encode())
    report = imported(store, data)
    assert report.imported + report.problem_count == 1
    assert imported(store, data).imported == 0


def test_duplicate_keys_and_ids(store) -> None:
    """The last of equal keys is used, and duplicate nodes and sessions are imported once."""
    doubled = b'{"id":"x",' + chatgpt("a", "b")[2:-1]
    data = b"[" + doubled + b"," + doubled + b"," + chatgpt("other")[1:]
    report = imported(store, data)
    assert (report.problems, report.imported) == ([], 2)
    assert texts(store, "chatgpt-c") == ["a", "b"]
    lines = claude_code("a", "b").splitlines()
    assert imported(store, b"\n".join([*lines, *lines])).ok
    assert texts(store, "claude-code-c") == ["a", "b"]


def test_circles_in_files_of_lines(store) -> None:
    """Messages that name each other as parents are imported once."""
    ring = b"\n".join(
        json.dumps({"type": "user", "uuid": a, "parentUuid": b, "sessionId": "c", "message": {"content": a}}).encode()
        for a, b in (("x", "y"), ("y", "x"))
    )  # fmt: skip
    assert imported(store, ring).imported == 1
    assert sorted(texts(store, "claude-code-c")) == ["x", "y"]


def test_a_gemini_log_that_repeats_itself_does_not_hang(store) -> None:
    """20,000 lines about two messages, and as many rewinds, take linear time."""
    lines = [{"sessionId": "c", "projectHash": "p"}]
    lines += [{"id": f"{n}", "type": "user", "content": f"{n}"} for n in range(5_000)]
    lines += [{"id": f"{n % 2}", "type": "user", "content": "again"} for n in range(10_000)]
    lines += [{"$rewindTo": f"{5_000 - n}"} for n in range(1, 4_990)]
    assert imported(store, "\n".join(map(json.dumps, lines)).encode(), branches=True).ok
    assert texts(store, "gemini-c")[:3] == ["again", "again", "2"]


def test_an_answer_of_endless_pieces_is_cut(store) -> None:
    """15,000 pieces of one answer become several messages."""
    line = {"type": "assistant", "sessionId": "c", "message": {"id": "one", "content": [{"type": "text", "text": "x" * 500}]}}  # fmt: skip
    data = b"\n".join(
        json.dumps({**line, "uuid": f"u{n}", "parentUuid": f"u{n - 1}"}).encode()
        for n in range(15_000)
    )
    assert imported(store, data).ok
    assert all(len(message.text) < 20_000_000 for message in store.messages("claude-code-c"))


def test_a_named_pipe(store, tmp_path) -> None:
    """A named pipe is read once, to its end."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(chatgpt("a", "b"),))
    writer.start()
    report = import_path(store, pipe, strict=True)
    writer.join()
    assert report.imported == 1


def test_a_pipe_in_a_directory_is_passed_over(store, tmp_path) -> None:
    """A named pipe in a directory is skipped, also in place of codex's session index."""
    os.mkfifo(tmp_path / "a.json")
    os.mkfifo(tmp_path / "session_index.jsonl")
    (tmp_path / "b.jsonl").write_bytes(codex("a", "b"))
    assert import_path(store, tmp_path).imported == 1


class _Growing(io.RawIOBase):
    """File that grows whenever it is read."""

    def __init__(self, path: Path, more: bytes) -> None:
        self._path = path
        self._more = more

    def __call__(self, _used: int) -> None:
        with self._path.open("ab") as file:
            file.write(self._more)


def test_a_file_that_grows_while_it_is_read(store, tmp_path) -> None:
    """Only the content at the time of opening is read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(codex(*["x" * 1_000] * 600) + b"\n")
    more = codex("more").splitlines()[1] + b"\n"
    report = import_path(store, path, progress=_Growing(path, more * 400))
    assert (report.ok, report.messages) == (True, 600)
    assert path.stat().st_size > 700_000


def test_a_directory_of_any_depth(store, tmp_path) -> None:
    """1,500 nested directories do not exceed the recursion limit."""
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1_500):
            Path("d").mkdir()
            os.chdir("d")
        Path("a.json").write_bytes(chatgpt("deep"))
    finally:
        os.chdir(here)
    report = import_path(store, tmp_path)
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # too deep for pytest to take away
    assert report.imported == 1


def test_a_directory_that_cannot_be_read_is_told(store, tmp_path) -> None:
    """An unreadable directory is reported by name, and the others are read."""
    (tmp_path / "a.json").write_bytes(chatgpt("a"))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    (tmp_path / "loop.json").symlink_to("loop.json")
    report = import_path(store, tmp_path)
    assert report.imported == 1
    if os.geteuid():  # root reads everything
        assert [p.location for p in report.problems] == [str(closed)]
    closed.chmod(0o700)


@pytest.mark.parametrize("name", FORMAT_OF)
def test_files_that_are_no_files_of_it(name, store) -> None:
    """Empty, blank and binary content is reported for every format."""
    for data in (
        b"",
        b" \n\t\n",
        bytes(range(256)) * 40,
        b"\0" * 70_000,
        b"PK\x03\x04broken",
        b"\x28\xb5\x2f\xfdbroken",
    ):
        report = imported(store, data, format_name=FORMAT_OF[name])
        assert not report.ok
        assert report.problem_count >= 1
    assert store.count(archived=None) == 0


# Archives.


def test_a_zip_whose_table_of_contents_is_too_large(store) -> None:
    """A huge central directory is not read into memory."""
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, 100_000_000, 0, 0)
    report = imported(store, b"PK\x03\x04" + b"\0" * 100 + end)
    assert "central directory" in report.problems[0].text


@pytest.mark.parametrize("seed", range(24))
def test_a_damaged_zip(seed, store) -> None:
    """Changed bytes in a zip archive are reported or harmless."""
    import random

    chance = random.Random(seed)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", chance.choice([0, 8, 12, 14])) as archive:
        archive.writestr("conversations-0.json", chatgpt(*["a"] * 50))
        archive.writestr("conversations-1.json", chatgpt("b"))
    data = bytearray(out.getvalue())
    for _ in range(chance.randint(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    if seed % 3 == 0:
        del data[chance.randrange(len(data)) :]
    imported(store, bytes(data))


def test_a_zip_with_hostile_names(store) -> None:
    """Member names with paths are harmless, since nothing is extracted to disk."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, name in enumerate(["../../../tmp/conversations-a.json", "/etc/conversations-b.json", "C:\\conversations.json", "conversations\x1b[2J.json", "x" * 300 + "/conversations.json"]):  # fmt: skip
            archive.writestr(
                name, chatgpt(f"{number}").replace(b'"id": "c"', b'"id": "c%d"' % number)
            )
    report = imported(store, out.getvalue())
    assert (report.imported, report.problems) == (5, [])


def test_a_packed_bomb_ends(store, tmp_path) -> None:
    """A decompression bomb is rejected in bounded time and memory."""
    from backports import zstd

    path = tmp_path / "a.json.zst"
    with zstd.open(path, "wb") as file:
        file.write(b"[")
        for _ in range(300):
            file.write(b" " * (1 << 20))
    assert path.stat().st_size < 200_000
    report = import_path(store, path)
    assert "times its size" in report.problems[0].text


def test_an_archive_in_an_archive_is_not_opened(store) -> None:
    """Nested archives are not opened."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("conversations.json", chatgpt("a"))
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("inner.zip", inner.getvalue())
    report = imported(store, outer.getvalue())
    assert (report.imported, report.ok) == (0, False)
    packed = gzip.compress(gzip.compress(chatgpt("a")))
    assert not imported(store, packed).ok


# Databases.


def database(path: Path, script: str) -> Path:
    """Create a database."""
    log = sqlite3.connect(path)
    log.executescript(script)
    log.close()
    return path


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x AS id, x AS conversation_id, x AS hash FROM n"


@pytest.mark.parametrize(
    "script",
    [
        f"CREATE VIEW responses AS {ENDLESS}",
        f"CREATE VIEW threads AS {ENDLESS}; CREATE VIEW turns AS {ENDLESS}; CREATE VIEW messages AS {ENDLESS}; CREATE VIEW parts AS {ENDLESS}",
        "CREATE TABLE responses (id, response AS (hex(zeroblob(400000000))))",
        "CREATE VIRTUAL TABLE responses USING fts5(id)",
        "CREATE TABLE other (id)",
        "CREATE TABLE responses (anything)",
        "CREATE TABLE threads (id); CREATE TABLE turns (id); CREATE TABLE messages (id); CREATE TABLE parts (id); INSERT INTO threads VALUES ('a')",
    ],
    ids=["view", "views", "computed", "virtual", "stranger", "columns", "newer columns"],
)
def test_a_database_that_is_no_log(script, store, tmp_path) -> None:
    """Views, computed tables and other databases are not read."""
    report = import_path(store, database(tmp_path / "logs.db", script))
    assert (report.imported, report.problem_count) == (0, 1)


def test_values_of_the_wrong_kind_in_a_log(store, tmp_path) -> None:
    """Numbers, bytes and nulls in place of text affect only themselves."""
    path = placed("llm-0.27.sql", tmp_path)
    odd = ["1", "2.5", "x'ff00'", "NULL", "''", "'[]'"]
    log = sqlite3.connect(path)
    columns = [
        row[1]
        for row in log.execute("PRAGMA table_info(responses)")
        if row[1] not in ("id", "conversation_id")
    ]
    for number, value in enumerate(odd):
        row = ", ".join([f"'odd{number}'", f"'conversation{number}'", *[value] * len(columns)])
        log.execute(
            f"INSERT INTO responses (id, conversation_id, {', '.join(columns)}) VALUES ({row})"
        )
        log.execute(
            f"INSERT INTO tool_calls (response_id, name, arguments) VALUES ('odd{number}', {value}, {value})"
        )
        log.execute(
            f"INSERT INTO tool_results (response_id, name, output) VALUES ('odd{number}', {value}, {value})"
        )
        log.execute(f"INSERT INTO conversations VALUES ('conversation{number}', {value}, {value})")
    log.execute("INSERT INTO responses (id, response) VALUES (x'00ff', 'bytes')")
    log.execute("INSERT INTO responses (id, response) VALUES (NULL, 'null')")
    log.commit()
    log.close()
    report = import_path(store, path)
    assert (report.imported, report.ok) == (4 + len(odd), True)
    assert import_path(store, path).imported == 0


def test_a_log_with_circles_and_huge_values(store, tmp_path) -> None:
    """Cyclic messages, a text of 70 MB and an attachment of 30 MB are handled."""
    path = placed("llm-0.36-new.sql", tmp_path)
    log = sqlite3.connect(path)
    log.execute(
        "UPDATE messages SET parent_hash = (SELECT tip_message_hash FROM threads LIMIT 1) WHERE parent_hash IS NULL"
    )
    log.execute("UPDATE parts SET text = hex(zeroblob(35000000)) WHERE text = 'Five.'")
    log.execute("UPDATE attachments SET content = zeroblob(30000000)")
    log.commit()
    log.close()
    report = import_path(store, path)
    assert report.imported == 4
    assert [p.text.partition(":")[0] for p in report.problems] == ["cannot be read completely"]


def test_a_log_without_indexes_ends(store, tmp_path) -> None:
    """A query that would scan the table at each step is stopped and reported."""
    path = database(
        tmp_path / "logs.db",
        "CREATE TABLE threads (id, name, tip_message_hash, forked_from, datetime_utc);"
        "CREATE TABLE turns (id, thread_id, parent_message_hash, tip_message_hash, model, datetime_utc);"
        "CREATE TABLE messages (hash, parent_hash, role); CREATE TABLE parts (id, message_hash, position, type, tool_name, text, payload);"
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 30000)"
        " INSERT INTO messages SELECT 'h' || x, 'h' || (x - 1), 'user' FROM n;"
        "INSERT INTO threads VALUES ('t', 'n', 'h30000', NULL, NULL)",
    )
    report = import_path(store, path)
    assert not report.ok
    assert "query took too long" in report.problems[0].text


def test_a_log_in_use_and_in_a_directory_that_cannot_be_written(store, tmp_path) -> None:
    """The journal is read too, and the files are not changed."""
    path = placed("llm-0.27.sql", tmp_path)
    log = sqlite3.connect(path)
    log.execute("PRAGMA journal_mode = WAL")
    log.execute(
        "INSERT INTO responses (id, model, prompt, response) VALUES ('new', 'm', 'Q', 'In the journal')"
    )
    log.commit()
    assert Path(f"{path}-wal").stat().st_size
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in (path.name, f"{path.name}-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    log.close()
    before = {one.name: one.read_bytes() for one in copy.iterdir()}
    copy.chmod(0o500)
    try:
        assert import_path(store, copy / path.name).imported == 5
        assert texts(store, "llm-new") == ["Q", "In the journal"]
        kept = {
            one.name: one.read_bytes() for one in copy.iterdir() if not one.name.endswith("-shm")
        }
        assert kept == before
    finally:
        copy.chmod(0o700)


@pytest.mark.parametrize("seed", range(20))
def test_a_log_with_damaged_pages(seed, store, tmp_path) -> None:
    """Readable conversations are imported, and the rest is reported."""
    import random

    chance = random.Random(seed)
    path = placed(chance.choice(["llm-0.27.sql", "llm-0.36.sql"]), tmp_path)
    data = bytearray(path.read_bytes())
    for _ in range(3):
        at = chance.randrange(100, len(data) - 64)
        data[at : at + 64] = chance.randbytes(64)
    path.write_bytes(data)
    report = import_path(store, path)
    assert report.imported + report.problem_count + report.skipped


# YAML.


@pytest.mark.parametrize(
    "tail",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nmessages: *b\n",
        "messages: !!python/object/apply:os.system ['touch /tmp/pwned']\n",
        "messages: " + "[" * 100_000,
        "messages:\n" + "- " * 2_000 + "x\n",
        "? [a]\n: b\nmessages: []\n",
        "messages: {role: user}\n",
        "<<: *x\nmessages: []\n",
        "messages:\n- [a]\n- 7\n- null\n- {role: robot, content: x}\n",
        "messages: 7\ncompressed_messages: x\n",
        "messages:\n- role: tool\n  content: {tool_results: [1, {call: 3}, {call: {arguments: .nan}}]}\n",
    ],
)
def test_hostile_yaml(tail, store) -> None:
    """Alias bombs, tags, deep nesting and odd values are reported or ignored; nothing is executed."""
    data = f"model: x\nmessages:\n- role: user\n  content: kept\n{tail}".encode()
    report = imported(store, data, format_name="aichat")
    assert report.imported == 1
    assert texts(store, "aichat-in")[0] == "kept"
    assert not Path("/tmp/pwned").exists()


def test_a_scalar_without_end_in_yaml(store) -> None:
    """An endless value is rejected before it fills the memory."""

    class Endless(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            buffer[:] = b"x" * len(buffer)
            return len(buffer)

    start = b"model: x\nmessages:\n- role: user\n  content: kept\n- role: user\n  content: "

    class Both(io.RawIOBase):
        def __init__(self) -> None:
            self._start = io.BytesIO(start)
            self._rest = Endless()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            return self._start.readinto(buffer) or self._rest.readinto(buffer)

    report = import_stream(store, io.BufferedReader(Both()), name="a.yaml")
    assert "longer than" in report.problems[0].text
    assert texts(store, "aichat-a") == ["kept"]
