"""The JSON-file store as files: what stands in them, and what happens when they are damaged, foreign or in the way."""

import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest

from omniagent_cli import open_store
from omniagent_cli.errors import (
    CorruptSession,
    NewerVersion,
    NotOurStore,
    StoreCorrupt,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
    UsageError,
)
from omniagent_cli.models import Message
from omniagent_cli.stores.backend import HeaderRow, ListQuery, MessageRow
from omniagent_cli.stores.backends.jsonl.disk import locked
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.testing import FakeClock
from tests import forked

GOLDEN = r"""
{"format":"omniagent-session","version":2,"uid":"00000000000001","id":"User/1","created_at":"2026-01-01T12:00:00.000000Z","header":{"ttl_seconds":86400.0}}
{"header":{"expires_at":null},"at":"2026-01-01T12:00:00.000000Z"}
{"id":"m1","turn_id":"m1","role":"user","created_at":"2026-01-01T12:00:00.000000Z","more":true,"content":"Grüße \ud800 \"x\"\n"}
{"id":"m2","turn_id":"m1","role":"assistant","created_at":"2026-01-01T12:00:00.000000Z","more":true,"content":"ja","usage":{"input_tokens":1}}
{"header":{"title":"Grüße \ud800 \"x\"","title_source":"auto"},"at":"2026-01-01T12:00:00.000000Z/0001"}
{"id":"m3","role":"assistant","created_at":"2026-01-01T12:01:00.000000Z","content":"so far"}
{"record":"summary","key":"000000000001","at":"2026-01-01T12:01:00.000000Z","value":{"text":"short","up_to":1}}
{"header":{"metadata":{"pinned":true},"stamps":{"metadata/pinned":"2026-01-01T12:01:00.000000Z"}},"at":"2026-01-01T12:01:00.000000Z/0001"}
"""

NOW = "2026-01-01T12:00:00.000000Z"


@pytest.fixture
def place(tmp_path):
    return tmp_path / "sessions"


@pytest.fixture
def store(place):
    with JsonlFilesStore(place) as store:
        yield store


def user(text):
    return {"role": "user", "content": text}


def texts(store, session_id="a"):
    return [message.content for message in store.messages(session_id)]


def test_stored_bytes(place):
    """The lines of a log are these, for ever."""
    clock = FakeClock()
    header = HeaderRow("00000000000001", "User/1", NOW, NOW, ttl_seconds=86400.0, payload=b"{}")
    with JsonlFilesStore(place, clock=clock) as store:
        store.transact(lambda tx: tx.put(header), write=True)
        store.append(
            "User/1",
            [
                {"role": "user", "content": 'Grüße \ud800 "x"\n', "id": "m1"},
                {"role": "assistant", "content": "ja", "id": "m2", "usage": {"input_tokens": 1}},
            ],
        )
        clock.advance("1m")
        message = Message("assistant", "so", id="m3")
        message = store.checkpoint("User/1", message, uid=header.uid).messages[0]
        message.content, message.status = "so far", "complete"
        store.checkpoint("User/1", message, uid=header.uid, final=True)
        store.put_summary("User/1", 1, {"text": "short"})
        store.set_metadata("User/1", "pinned", True)
        stored = (place / "+user%2f1.jsonl").read_text(encoding="utf-8")
        assert stored.splitlines() == GOLDEN.strip().splitlines()


def test_golden_file_reads(place):
    """A log of version 2 is read for ever, also when it was copied into an empty directory."""
    place.mkdir()
    (place / "+user%2f1.jsonl").write_text(GOLDEN.lstrip(), encoding="utf-8")
    with JsonlFilesStore(place, clock=FakeClock()) as store:
        session = store.get("User/1")
        assert [m.text for m in session.messages] == ['Grüße \ud800 "x"\n', "ja", "so far"]
        assert session.metadata == {"pinned": True}
        assert [summary.id for summary in store.list()] == ["User/1"]
        assert store.last_summary("User/1") == {"text": "short", "up_to": 1}


def test_payloads_that_are_not_json_come_back(store, place):
    """A compressed or encrypted payload stands as base64 and comes back to the byte."""
    payload = bytes(range(256))

    def write(tx):
        header = HeaderRow("abc", "a", NOW, NOW, preview=b"\x00\xff", payload=b"\x01\x80\n")
        header.message_count = header.next_position = 1
        tx.put(header)
        row = (0, 'i"d', None, "user", NOW, None, payload)
        tx.insert("abc", [MessageRow(*row)], [None])
        tx.put_record("abc", "attachment", "k", payload)

    store.transact(write, write=True)

    def read(tx):
        header = tx.find("a")
        return (
            header.preview,
            header.payload,
            next(iter(tx.rows("abc"))),
            tx.record("abc", "attachment", "k"),
        )

    preview, data, row, record = store.transact(read, write=False)
    assert (preview, data, row.id, row.payload, record) == (
        b"\x00\xff",
        b"\x01\x80\n",
        'i"d',
        payload,
        payload,
    )
    assert (
        store.transact(lambda tx: tx.headers(ListQuery()), write=False)[0].payload == b"\x01\x80\n"
    )


def test_every_torn_tail(store, place, caplog):
    """However little of the last append reached the disk, the ones before are whole, and it is gone as a whole."""
    store.append("a", user("one"))
    store.append("a", [user("two"), user("three")])
    path = place / "a.jsonl"
    whole = path.read_bytes()
    start = whole.index(b"\n", whole.index(b'"one"', whole.index(b"\n"))) + 1
    for size in range(start, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert texts(store) == ["one"], size
    path.write_bytes(whole[:-1])
    assert texts(store) == ["one", "two", "three"]
    store.append("a", user("four"))
    assert texts(store) == ["one", "two", "three", "four"]


def test_torn_tail_is_set_aside(store, place, caplog):
    """The next append moves an unfinished change to a side file, says so, and loses nothing."""
    store.append("a", user("one"))
    path = place / "a.jsonl"
    with path.open("ab") as file:
        file.write(b'{"position":1,"id":"x","role":"user","crea')
    with caplog.at_level(logging.WARNING):
        store.append("a", user("two"))
    assert texts(store) == ["one", "two"]
    (side,) = (place / ".omniagent" / "torn").iterdir()
    assert side.read_bytes() == b'{"position":1,"id":"x","role":"user","crea\n'
    assert side.stat().st_mode & 0o777 == 0o600
    assert str(side) in caplog.text
    assert store.info()["torn"] == 1
    store.delete("a", purge=True)
    assert not side.exists()


def test_zeros_at_the_end_are_a_torn_tail(store, place):
    """A file that a power cut made longer with zeros goes on where it was."""
    store.append("a", user("one"))
    with (place / "a.jsonl").open("ab") as file:
        file.write(b"\0" * 10_000)
    assert texts(store) == ["one"]
    store.append("a", user("two"))
    assert texts(store) == ["one", "two"]


def test_zeros_in_the_middle_are_told(store, place):
    """A run of zeros inside a log is damage with a line number, also for the message lines around it; the end still works."""
    for number in range(5):
        store.append("a", user(f"text {number}"))
    path = place / "a.jsonl"
    data = path.read_bytes()
    middle = data.index(b"text 1") - 40
    path.write_bytes(data[:middle] + b"\0" * 80 + data[middle + 80 :])
    with pytest.raises(CorruptSession, match=r"'a' is damaged") as caught:
        store.get("a")
    assert caught.value.session_id == "a"
    assert [message.content for message in store.messages("a", last=2)] == ["text 3", "text 4"]
    assert store.append("a", user("more"))[0].content == "more"
    assert store.messages("a", last=1)[0].content == "more"
    assert [summary.id for summary in store.list()] == ["a"]


def test_every_flipped_byte_is_told_or_harmless(place):
    """Whatever byte of a log changes, the history is the same length or the damage is told."""
    store = JsonlFilesStore(place, ttl=None)
    store.append("a", user("one"))
    store.append("a", user("two"))
    path = place / "a.jsonl"
    data = path.read_bytes()
    for number in range(len(data)):
        path.write_bytes(data[:number] + bytes([data[number] ^ 0x01]) + data[number + 1 :])
        with contextlib.suppress(CorruptSession, NewerVersion):
            assert len(texts(store)) == 2, number


def test_a_log_edited_by_hand(store, place):
    """Other white space, line ends and longer texts are read; offsets that do not fit any more are found again."""
    store.append("a", [user("one"), user("two")])
    store.put_attachment("a", "f" * 64, {"name": "x"})
    store.set_metadata("a", "k", 1)
    store.append("a", user("three"))
    path = place / "a.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records[1]["content"] = "one and a half"
    path.write_text("\r\n\r\n".join(map(json.dumps, records)), encoding="utf-8", newline="")
    assert texts(store) == ["one and a half", "two", "three"]
    assert store.get_metadata("a", "k") == 1
    assert store.attachment("a", "f" * 64) == {"name": "x"}
    store.append("a", user("four"))
    store.set_metadata("a", "l", 2)
    assert texts(store) == ["one and a half", "two", "three", "four"]
    assert store.get("a").metadata == {"k": 1, "l": 2}


def test_other_files_are_left_alone(store, place):
    """Files that are not ours in the directory are neither listed nor touched, and are told when in the way."""
    store.append("a", user("one"))
    (place / "notes.jsonl").write_text('{"my":"own"}\n')
    (place / "README.md").write_text("hello")
    (place / "empty.jsonl").touch()
    (place / "dir.jsonl").mkdir()
    assert [summary.id for summary in store.list()] == ["a"]
    for name in ("notes", "empty"):
        with pytest.raises(CorruptSession, match="is not a session log"):
            store.append(name, user("x"))
    store.compact()
    assert (place / "notes.jsonl").read_text() == '{"my":"own"}\n'


def test_a_copied_file_is_told(store, place, caplog):
    """A copy of a log under another name is neither a second session nor overwritten."""
    store.append("a", user("one"))
    (place / "b.jsonl").write_bytes((place / "a.jsonl").read_bytes())
    assert [summary.id for summary in store.list()] == ["a"]
    assert "b.jsonl" in caplog.text
    with pytest.raises(CorruptSession, match="contains the session 'a'"):
        store.append("b", user("x"))
    assert texts(store) == ["one"]


def test_newer_versions_are_refused(store, place):
    """A log, a store, a journal of a newer omniagent is told as that."""
    store.append("a", user("one"))
    path = place / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":3', 1))
    for attempt in (lambda: store.get("a"), store.list, lambda: store.append("a", user("x"))):
        with pytest.raises(NewerVersion, match=r"version 3"):
            attempt()
    marker = place / ".omniagent" / "store.json"
    marker.write_text('{"format":"omniagent-files","version":3}')
    with pytest.raises(NewerVersion, match="version 3"):
        JsonlFilesStore(place)


def test_the_marker_of_something_else(place):
    """A directory that another program marked as its own is refused, a damaged marker is told."""
    marker = place / ".omniagent" / "store.json"
    marker.parent.mkdir(parents=True)
    marker.write_text('{"format":"other"}')
    with pytest.raises(NotOurStore):
        JsonlFilesStore(place)
    marker.write_text("{")
    with pytest.raises(StoreCorrupt):
        JsonlFilesStore(place)


def test_a_file_where_the_directory_should_be(tmp_path):
    """It is told, with the URL that would fit."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnreachable, match="sqlite://"):
        JsonlFilesStore(tmp_path / "file")
    with pytest.raises(StoreUnreachable), JsonlFilesStore(tmp_path / "file" / "below") as store:
        store.append("a", user("x"))


def test_reading_creates_nothing(store, place):
    """A store that is not there reads as an empty one and stays not there."""
    assert store.list() == []
    assert store.exists("a") is False
    assert list(store.search("x")) == []
    assert store.info()["sessions"] == 0
    assert not place.exists()


def test_read_only(place):
    """A store opened for reading only reads, writes nothing, not even an index, and says so."""
    with JsonlFilesStore(place) as store:
        store.append("a", user("one"))
    before = sorted(place.rglob("*"))
    with open_store(f"file://{place}", read_only=True) as store:
        assert texts(store) == ["one"]
        assert len(store.list()) == 1
        with pytest.raises(StoreReadOnly):
            store.append("a", user("two"))
    assert sorted(place.rglob("*")) == before


def test_a_place_that_cannot_be_written():
    """A directory that nobody may write to is told as that."""
    with (
        pytest.raises((StoreReadOnly, StoreUnreachable)),
        JsonlFilesStore("/sys/omniagent") as store,
    ):
        store.append("a", user("x"))


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o777])
def test_private_whatever_the_umask(place, umask):
    """Every file is 0600 and every directory 0700, the side files too."""
    old = os.umask(umask)
    try:
        with JsonlFilesStore(place) as store:
            store.append("a", user("one"))
            with (place / "a.jsonl").open("ab") as file:
                file.write(b"{")
            store.append("a", user("two"))
            store.trim("a", 1)
            store.append("b", user("one"))
            store.delete("b")
            store.list()
            store.backup(place.parent / "backup")
    finally:
        os.umask(old)
    for top in (place, place.parent / "backup"):
        paths = [top, *top.rglob("*")]
        wrong = [p for p in paths if p.stat().st_mode & 0o777 != (0o700 if p.is_dir() else 0o600)]
        assert wrong == []


FULL = """
import os, resource, sys
from omniagent_cli.errors import StoreFull
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
store = JsonlFilesStore(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, -1))
stored = 0
for number in range(100):
    try:
        store.append("a", [{"role": "user", "content": "x" * 700}, {"role": "user", "content": "y" * 700}])
    except StoreFull as error:
        break
    stored += 2
resource.setrlimit(resource.RLIMIT_FSIZE, (os.stat(sys.argv[1] + "/a.jsonl").st_size + 50, -1))
try:
    store.rename("a", "b")
except StoreFull:
    pass
else:
    sys.exit("a rename still had room")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, -1))
try:
    store.backup(sys.argv[1] + "-copy")
except StoreFull as error:
    assert "-copy" in str(error), error
else:
    sys.exit("a backup still had room")
assert len(store.messages("a")) == stored
print(stored)
"""


def test_a_full_disk(place):
    """An append that no longer fits is told, leaves nothing of itself, and what was stored stays readable."""
    done = subprocess.run(
        [sys.executable, "-c", FULL, place], capture_output=True, text=True, check=True
    )
    stored = int(done.stdout)
    assert 2 <= stored < 30
    with JsonlFilesStore(place) as store:
        assert store.count_messages("a") == len(store.messages("a")) == stored
        assert not (place / ".omniagent" / "journal.json").exists()
        store.append("a", user("room again"))
        assert store.info()["torn"] == 0


def test_purged_text_is_in_no_file(store, place):
    """What was purged stands in no file of the store any more, the index and side files included."""
    for session_id in ("a", "b"):
        store.append(session_id, [user("secret one"), user("harmless"), user("secret two")])
        with next(place.glob(f"{session_id}.jsonl")).open("ab") as file:
            file.write(b"secret three")
        store.append(session_id, user("end"))
        store.list()
    store.trim("a", 0, purge=True)
    store.set_title("a", "empty")
    store.compact()
    store.delete("b", purge=True)
    holders = [p for p in place.rglob("*") if p.is_file() and b"secret" in p.read_bytes()]
    assert holders == []


def test_compact_keeps_everything_but_what_was_replaced(store, place):
    """Compaction makes logs smaller and changes nothing that can be seen."""
    store.append("a", [user(f"text {number} " + "x" * 100) for number in range(20)])
    for number in range(20):
        store.set_message_status("a", 5, "failed", {"note": "n" * number})
        store.set_title("a", f"title {number}")
    store.put_attachment("a", "f" * 64, {"name": "x"})
    store.trim("a", 15)
    before, size = store.get("a"), (place / "a.jsonl").stat().st_size
    store.compact()
    assert store.get("a") == before
    assert store.attachment("a", "f" * 64) == {"name": "x"}
    assert (place / "a.jsonl").stat().st_size < size / 2
    stamp = (place / "a.jsonl").stat()
    store.compact()
    assert (place / "a.jsonl").stat() == stamp


def test_replaced_messages_do_not_pile_up(store, place):
    """A log of which more than half are replaced messages is rewritten automatically."""
    store.append("a", [user("question"), user("x" * 50_000)])
    for number in range(20):
        store.set_message_status("a", 1, "failed", {"n": number})
    assert (place / "a.jsonl").stat().st_size < 700_000
    assert [len(text) for text in texts(store)] == [8, 50_000]


def test_backup(store, place, tmp_path):
    """A backup is a store by itself; an existing target is refused; the store knows where its copies are."""
    store.append("a", user("one"))
    store.append("b", user("two"))
    store.delete("b")
    store.backup(tmp_path / "copy")
    with JsonlFilesStore(tmp_path / "copy") as copy:
        assert texts(copy) == ["one"]
        copy.restore("b")
        assert texts(copy, "b") == ["two"]
    assert store.known_backups() == [str(tmp_path / "copy")]
    for target in (tmp_path / "copy", place / "inside"):
        with pytest.raises(UsageError):
            store.backup(target)


def test_capitals_are_other_sessions(store, place):
    """Ids that differ only in case are two files on every disk."""
    store.append("Ann", user("one"))
    store.append("ann", user("two"))
    assert texts(store, "Ann") == ["one"]
    assert len({path.name.casefold() for path in place.glob("*.jsonl")}) == 2


def test_a_directory_that_was_removed_meanwhile(store, place):
    """A store whose directory is gone is empty, and the next write makes it again."""
    store.append("a", user("one"))
    shutil.rmtree(place)
    assert store.list() == []
    assert store.exists("a") is False
    store.append("a", user("two"))
    assert texts(store) == ["two"]


def test_a_damaged_session_is_still_listed(place):
    """A log whose last header line is damaged is listed, reported as damaged when opened, and does not expire."""
    clock = FakeClock()
    with JsonlFilesStore(place, clock=clock) as store:
        store.append("a", user("one"))
        store.set_ttl("a", 1)
        store.set_ttl("a", None)
        clock.advance("1m")
        path = place / "a.jsonl"
        data = path.read_bytes()
        begin = data.rindex(b'{"header"')
        path.write_bytes(data[:begin] + b"[" + data[begin + 1 :])
        assert [summary.id for summary in store.list()] == ["a"]
        assert store.purge_expired() == 0
        with pytest.raises(CorruptSession, match=r"'a' is damaged at line \d+ of .*a\.jsonl"):
            store.get("a")


def test_a_lock_that_is_held(store, place):
    """Waiting for another process ends with an error that says so, or at once with Ctrl-C."""
    store.append("a", user("one"))
    lock = place / ".omniagent" / "lock"
    script = (
        "import sys\nfrom omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore\n"
        "store = JsonlFilesStore(sys.argv[1])\nprint(len(store.messages('a')), flush=True)\n"
        "store.append('a', {'role': 'user', 'content': 'two'})\n"
    )
    with locked(lock):
        with pytest.raises(StoreLocked, match="in use by another process"):
            with locked(lock, wait_seconds=0.02):
                pass
        with forked.start(
            ["-c", script, place], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as waiting:
            assert waiting.stdout.readline() == b"1\n"
            waiting.send_signal(signal.SIGINT)
            assert b"KeyboardInterrupt" in waiting.stderr.read()
    assert texts(store) == ["one"]


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_is_no_file_is_no_session(store, place, tmp_path, kind, caplog):
    """A directory, a FIFO or a link in the place of a log is left alone, told, and never waited for."""
    store.append("b", user("one"))
    path = place / "a.jsonl"
    other = tmp_path / "other.jsonl"
    (place / "b.jsonl").rename(other)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(other)
    before = other.read_bytes()
    for work in (lambda: store.get("a"), lambda: store.append("a", user("two"))):
        with pytest.raises(CorruptSession, match=r"a\.jsonl") as caught:
            work()
        assert ("is a symbolic link" in str(caught.value)) == (kind == "link")
    for _ in range(2):
        caplog.clear()
        assert store.list() == []
        assert ("a.jsonl is a symbolic link" in caplog.text) == (kind == "link")
    named = [p.what for p in store.check() if "is a symbolic link" in p.what]
    assert len(named) == (kind == "link")
    assert other.read_bytes() == before
