"""What operations on a JSON-file store read: counted in bytes and files, never timed."""

import json
import random
from pathlib import Path

import pytest

from omniagent_cli.models import Message
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore

BIG = 20_000
DESCRIPTORS = Path("/dev/fd")


def user(text):
    return {"role": "user", "content": text}


def bytes_read(work):
    """Return how many bytes of logs an operation reads."""
    before = LineReader.bytes_read
    work()
    return LineReader.bytes_read - before


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A store with one session of 20,000 messages, 6 MB, appended to in pieces."""
    place = tmp_path_factory.mktemp("big") / "sessions"
    with JsonlFilesStore(place) as store:
        for start in range(0, BIG, 100):
            store.append("a", [user(f"text {n} " + "x" * 150) for n in range(start, start + 100)])
        store.append("small", user("x"))
    assert (place / "a.jsonl").stat().st_size > 5_000_000
    return place


def one_shot(place, work):
    """Return what a process of its own would read: a fresh store for one operation."""

    def run():
        with JsonlFilesStore(place) as store:
            work(store)

    return bytes_read(run)


@pytest.mark.parametrize(
    ("operation", "limit"),
    [
        (lambda store: store.append("a", user("more")), 40_000),
        (lambda store: store.header("a"), 40_000),
        (lambda store: store.count_messages("a"), 40_000),
        (lambda store: store.set_metadata("a", "k", 1), 40_000),
        (lambda store: store.last_summary("a"), 40_000),
        (lambda store: store.messages("a", last=50), 80_000),
        (lambda store: store.messages("a", last=10, before=10_000), 3_000_000),
        (lambda store: store.messages("a", after=BIG - 20), 1_000_000),
    ],
    ids=["append", "header", "count", "metadata", "summary", "last", "before", "after"],
)
def test_cost_does_not_grow_with_the_history(big, operation, limit):
    """One append, a look at the header or a slice reads a bounded piece of a long log, from a cold start."""
    assert one_shot(big, operation) < limit


def test_append_costs_the_same_as_to_an_empty_session(big):
    """The first and the twenty-thousandth append read about the same."""
    long = one_shot(big, lambda store: store.append("a", user("more")))
    short = one_shot(big, lambda store: store.append("small", user("more")))
    assert long < short + 20_000


def test_checkpoints_read_only_the_end(big):
    """A growing answer is replaced without reading the history."""
    with JsonlFilesStore(big) as store:
        uid = store.write("a", user("question")).uid
        message = Message("assistant", "x")
        message = store.checkpoint("a", message, uid=uid).messages[0]
        message.content = "xy"
        assert bytes_read(lambda: store.checkpoint("a", message, uid=uid, final=True)) < 150_000
        assert store.messages("a", last=1)[0].content == "xy"


def test_walking_reads_each_part_about_once(big):
    """Reading a long history in pieces does not begin at the start for each."""
    size = (big / "a.jsonl").stat().st_size
    with JsonlFilesStore(big) as store:
        count = 0

        def walk():
            nonlocal count
            count = sum(1 for _ in store.iter_messages("a"))

        assert bytes_read(walk) < 12 * size
        assert count == store.count_messages("a")


def test_lists_read_only_what_changed(tmp_path):
    """A list after one append reads one file again, and the index brings the rest."""
    place = tmp_path / "sessions"
    with JsonlFilesStore(place) as store:
        for number in range(30):
            store.append(f"s{number}", user("hello"))
        assert len(store.list()) == 30
    with JsonlFilesStore(place) as store:
        assert len(store.list()) == 30
        assert store._index.reads == 0
        stamp = (place / ".omniagent" / "index.json").stat()
        store.append("s7", user("news"))
        assert (place / ".omniagent" / "index.json").stat() == stamp
        assert store.list(limit=1)[0].preview == "news"
        assert store._index.reads == 1


def test_a_cached_state_equals_a_derived_one(tmp_path):
    """A new process that reads the cached state of a log sees what one without caches sees."""
    place = tmp_path / "s"
    with JsonlFilesStore(place) as store:
        for number in range(200):
            store.append("a", [user(f"text {number} " + "x" * 300)])
        store.trim("a", 150)
        store.set_message_status("a", 120, "failed")
        store.restore("a")
        store.tag("a", ["x"])
        store.truncate_from("a", 190)
        for number in range(100):
            store.append("a", [user(f"more {number} " + "x" * 300)])
        store.put_attachment("a", "f" * 64, {"name": "x"})
        store.list()

    def seen():
        with JsonlFilesStore(place, read_only=True) as store:
            found = store.list(), store.get("a"), store.messages("a", before=180, last=70)
            return *found, store.messages("a", after=250), store.attachment("a", "f" * 64)

    assert list((place / ".omniagent/cache").iterdir())
    cached = seen()
    assert cached[0][0].preview.startswith("more 99")
    for path in (*(place / ".omniagent/cache").iterdir(), place / ".omniagent/index.json"):
        path.unlink()
    assert seen() == cached


@pytest.mark.parametrize(
    "damage",
    [
        lambda index: index.unlink(),
        lambda index: index.write_bytes(b"\xff{"),
        lambda index: index.write_text("[]"),
        lambda index: index.write_text('{"version":99,"files":[]}'),
        lambda index: index.write_text('{"version":1,"files":[["s1.jsonl",1]]}'),
        lambda index: index.write_text('{"version":1,"files":[["gone.jsonl",1,1,1,null]]}'),
    ],
    ids=["missing", "bytes", "list", "newer", "short", "stale"],
)
def test_an_index_that_does_not_fit_is_made_anew(tmp_path, damage):
    """The index is derived: whatever happens to it, lists are right, and it is private."""
    place = tmp_path / "sessions"
    with JsonlFilesStore(place) as store:
        for number in range(3):
            store.append(f"s{number}", user("hello"))
        store.list()
    index = place / ".omniagent" / "index.json"
    damage(index)
    with JsonlFilesStore(place) as store:
        assert [summary.id for summary in store.list(sort="id")] == ["s0", "s1", "s2"]
    assert len(json.loads(index.read_text())["files"]) == 3
    assert index.stat().st_mode & 0o777 == 0o600


def test_large_metadata_is_listed_whole(tmp_path):
    """Metadata too large for the index is read from the log."""
    with JsonlFilesStore(tmp_path / "s") as store:
        store.set_metadata("a", "big", "x" * 100_000)
        assert store.list()[0].metadata["big"] == "x" * 100_000
        assert (tmp_path / "s" / ".omniagent" / "index.json").stat().st_size < 1000


@pytest.mark.parametrize("seed", range(6))
def test_any_slice_of_a_log_with_replaced_messages(tmp_path, seed):
    """Slices of a long log agree with the whole, whatever was replaced and whenever."""
    chance = random.Random(seed)
    with JsonlFilesStore(tmp_path / "s") as store:
        uid = store.write("a", user("0")).uid
        expected, open_answers = ["0"], []
        for number in range(60):
            length = chance.choice([1, 100, 20_000, 120_000])
            if open_answers and chance.random() < 0.6:
                message = chance.choice(open_answers[-3:])
                message.content = f"{number}." * (length // 3 + 1)
                store.checkpoint("a", message, uid=uid, final=chance.random() < 0.5)
                expected[message.position] = message.content
            else:
                message = Message("assistant", f"{number}-" * (length // 3 + 1))
                message = store.checkpoint("a", message, uid=uid).messages[0]
                open_answers.append(message)
                expected.append(message.content)
        assert [m.content for m in store.messages("a")] == expected
        total = len(expected)
        for _ in range(60):
            before, last, after = (chance.randrange(total + 2) for _ in range(3))
            found = store.messages("a", before=before, last=last)
            assert [m.content for m in found] == expected[:before][
                max(0, min(before, total) - last) :
            ][:last]
            found = store.messages("a", after=after, before=before)
            assert [m.content for m in found] == expected[after + 1 : before]
        assert [m.content for m in store.iter_messages("a")] == expected


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="needs a list of open files in /dev/fd")
def test_no_file_stays_open(tmp_path):
    """Searching many sessions keeps few files open, and none afterwards."""
    with JsonlFilesStore(tmp_path / "s") as store:
        for number in range(100):
            store.append(f"s{number}", user("needle"))
        before = len(list(DESCRIPTORS.iterdir()))
        assert len(store.search("needle", limit=None)) == 100
        assert len(list(DESCRIPTORS.iterdir())) == before
