"""Copies of a file store that both grew, merged by lines: by git, from conflict copies, and with encryption."""

import contextlib
import json
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omniagent_cli.errors import NothingToRestore
from omniagent_cli.models import Message
from omniagent_cli.stores import with_encryption
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.testing import FakeClock

KEY = bytes(range(32))


def opened(place, clock, *, secret=False):
    store = JsonlFilesStore(place, clock=clock)
    return with_encryption(store, KEY) if secret else store


def turn(store, clock, text):
    """Append a question and its answer, a second apart, and return the question."""
    clock.advance("1s")
    question = store.append("a", Message("user", f"{text}?"))[0]
    clock.advance("1s")
    store.append("a", {"role": "assistant", "content": f"{text}.", "turn_id": question.id})
    return question


def texts(store):
    return [message.content for message in store.messages("a")]


def git(place, *words):
    settings = [
        "-c",
        "user.name=x",
        "-c",
        "user.email=x@example.org",
        "-c",
        "init.defaultBranch=main",
    ]
    done = subprocess.run(
        ["git", *settings, *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=["plain", "encrypted"])
def copies(tmp_path, request):
    """Two git clones of a store with two turns, and their clocks."""
    secret = request.param == "encrypted"
    clock = FakeClock()
    first, second = tmp_path / "first", tmp_path / "second"
    with opened(first, clock, secret=secret) as store:
        for text in ("old", "common"):
            turn(store, clock, text)
    git(first, "init")
    (first / ".gitattributes").write_text("*.jsonl merge=union\n")
    git(first, "add", ".")
    git(first, "commit", "-m", "start")
    git(tmp_path, "clone", str(first), str(second))
    stores = []
    for place in (first, second):
        own = FakeClock()
        own.advance("1h")
        stores.append((opened(place, own, secret=secret), own))
    yield [*stores[0], *stores[1]]
    for store, _ in stores:
        store.close()


def merge(store, other):
    """Commit both copies and merge the second into the first by lines."""
    places = [store.url.removeprefix("file://"), other.url.removeprefix("file://")]
    for place in places:
        git(place, "add", ".")
        git(place, "commit", "-m", "grown")
    git(places[0], "pull", "--no-rebase", "--no-edit", places[1], "main")


def test_merged_by_git(copies):
    """After `git merge` with merge=union the log has all messages of both, in whole turns by time, on both sides alike."""
    first, one, second, two = copies
    turn(first, one, "first 1")
    turn(second, two, "second 1")
    two.advance("5s")
    turn(second, two, "second 2")
    turn(first, one, "first 2")
    expected = [f"{text}{end}" for text in ("old", "common") for end in "?."]
    order = ["first 1", "second 1", "first 2", "second 2"]
    if second.messages("a")[4].id < first.messages("a")[4].id:
        order[:2] = ["second 1", "first 1"]
    expected += [f"{text}{end}" for text in order for end in "?."]
    merge(first, second)
    assert texts(first) == expected
    assert [m.position for m in first.messages("a")] == list(range(12))
    assert first.check() == []
    assert [m.content for m in first.messages("a", last=3)] == expected[-3:]
    (summary,) = first.list()
    assert (summary.message_count, summary.preview) == (12, "second 2.")
    merge_back = second.url.removeprefix("file://")
    git(merge_back, "pull", "--no-rebase", "--no-edit", first.url.removeprefix("file://"), "main")
    assert texts(second) == expected
    turn(first, one, "later")
    assert texts(first) == [*expected, "later?", "later."]
    assert [m.position for m in first.messages("a")] == list(range(14))


def test_removals_and_facts_merge(copies):
    """Removals of both copies count, of each fact the last change, and one that was restored stays."""
    first, one, second, two = copies
    turn(first, one, "first")
    turn(second, two, "second")
    first.trim("a", 5)  # removes "old?"
    second.truncate_from("a", 5)  # removes "second."
    first.truncate_from("a", 4)
    one.advance("1m")
    first.restore("a")  # "first" comes back
    first.set_title("a", "First title")
    first.tag("a", ["one"])
    two.advance("2m")
    second.set_title("a", "Second title")
    second.tag("a", ["two"])
    second.set_metadata("a", "k", 2)
    secret = first.has_key
    merge(first, second)
    found = texts(first)
    assert sorted(found) == sorted(["old.", "common?", "common.", "first?", "first.", "second?"])
    session = first.get("a")
    assert session.title == "Second title"
    assert session.metadata == {"k": 2, "tags": ["two"] if secret else ["one", "two"]}
    turn(first, one, "later")
    assert texts(first) == [*found, "later?", "later."]
    first.compact()
    assert texts(first) == [*found, "later?", "later."]
    assert first.get("a").metadata == session.metadata
    assert first.check() == []


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["turn", "append", "undo", "trim", "restore", "title", "tag", "status", "wait"]
        ),
        st.integers(0, 3),
    ),
    max_size=8,
)


def operate(store, clock, name, operation, number):
    """Run one operation of a generated test; what is impossible changes nothing."""
    if operation == "turn":
        turn(store, clock, f"{name}{number}")
    elif operation == "append":
        store.append("a", Message("user", f"{name} {number}"))
    elif operation == "undo":
        store.truncate_from("a", 2 + number)
    elif operation == "trim":
        store.trim("a", 2 + number)
    elif operation == "restore":
        with contextlib.suppress(NothingToRestore):
            store.restore("a")
    elif operation == "title":
        store.set_title("a", f"{name} {number}")
    elif operation == "tag":
        store.tag("a", [f"t{number}"], [f"t{(number + 1) % 4}"])
    elif operation == "status":
        messages = store.messages("a")
        if number < len(messages):
            store.set_message_status("a", messages[number].position, "failed", {"by": name})
    clock.advance(f"{number + 1}s")


def seen(store):
    session = store.get("a")
    records = [message.record for message in session.messages]
    return records, session.title, session.metadata, session.updated_at


@settings(
    max_examples=min(30, settings().max_examples),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
@given(before=OPERATIONS, one=OPERATIONS, two=OPERATIONS, cut=st.integers(0, 10))
def test_copies_that_grew_at_random_merge(before, one, two, cut):
    """The union of two copies is one session: the same in any order of the added lines, with every message that nobody removed."""
    with tempfile.TemporaryDirectory() as folder:
        place, clock = Path(folder) / "s", FakeClock()
        path, hidden = place / "a.jsonl", place / ".omniagent/hidden"
        with JsonlFilesStore(place, clock=clock, ttl=None) as store:
            store.append("a", [Message("user", "start"), Message("assistant", "go")])
            for operation, number in before:
                operate(store, clock, "x", operation, number)
            base, trash = path.read_bytes(), {p: p.read_bytes() for p in hidden.iterdir()}
            start = {json.loads(line).get("id") for line in base.splitlines()}
            added, ids = [], []
            for name, operations in (("y", one), ("z", two)):
                path.write_bytes(base)
                for leftover in hidden.iterdir():
                    leftover.unlink()
                for file, data in trash.items():
                    file.write_bytes(data)
                own = FakeClock()
                own.advance("1h")
                for operation, number in operations:
                    operate(store, own_clock(store, own), name, operation, number)
                added.append(path.read_bytes()[len(base) :].splitlines(keepends=True))
                ids.append({m.id for m in store.messages("a")})
            first, second = added
            results = []
            mixed = first[:cut] + second + first[cut:]
            for lines in (first + second, second + first, mixed, first + second + first):
                path.write_bytes(base + b"".join(lines))
                results.append(seen(store))
            assert results[1:] == results[:-1]
            found = {record["id"] for record in results[0][0]}
            assert found >= (ids[0] - start) | (ids[1] - start)
            assert found >= ids[0] & ids[1]
            store.append("a", Message("user", "on"))
            assert seen(store)[0][:-1] == results[0][0]
            assert store.check() == []
            store.compact()
            assert seen(store)[0][:-1] == results[0][0]


def own_clock(store, clock):
    """Let a store use another clock."""
    store._clock = clock
    return clock


def test_any_order_of_lines_gives_the_same_session(tmp_path):
    """However a merge mixes the lines that two copies added, and repeats them, the session is the same."""
    clock = FakeClock()
    place = tmp_path / "s"
    with JsonlFilesStore(place, clock=clock) as store:
        turn(store, clock, "common")
        path = place / "a.jsonl"
        base = path.read_bytes()
        added = []
        for name in ("x", "y"):
            path.write_bytes(base)
            turn(store, clock, name)
            store.set_title("a", name)
            store.truncate_from("a", 3)
            added.append(path.read_bytes()[len(base) :].splitlines(keepends=True))
        seen = set()
        lines = added[0] + added[1] + added[0][:2]
        draw = random.Random(1)
        for _ in range(400):
            draw.shuffle(lines)
            path.write_bytes(base + b"".join(lines))
            session = store.get("a")
            seen.add((session.title, *texts(store)))
        assert seen == {("y", "common?", "common.", "x?", "y?")}


@pytest.mark.parametrize(
    "name",
    [
        "a.sync-conflict-20260101-120000-ABCDEFG.jsonl",
        "a (Alice's conflicted copy 2026-01-01).jsonl",
    ],
)
def test_a_conflict_copy_is_taken_in(tmp_path, name):
    """What a sync tool left beside a log is named by the check, and merged into it by the repair."""
    place, clock = tmp_path / "s", FakeClock()
    with JsonlFilesStore(place, clock=clock) as store:
        turn(store, clock, "common")
        path = place / "a.jsonl"
        base = path.read_bytes()
        turn(store, clock, "here")
        here = path.read_bytes()
        path.write_bytes(base)
        turn(store, clock, "there")
        shutil.copy(path, place / name)
        path.write_bytes(here)
        (problem,) = store.check()
        assert (problem.session_id, problem.repaired) == ("a", False)
        assert name in problem.what
        (problem,) = store.check(repair=True)
        assert problem.repaired
        assert not (place / name).exists()
        assert texts(store) == ["common?", "common.", "here?", "here.", "there?", "there."]
        assert store.check() == []


def test_conflict_markers_are_taken_out(tmp_path):
    """A log in which git left conflict markers is read like a merged one, named, and rewritten by the repair."""
    place, clock = tmp_path / "s", FakeClock()
    with JsonlFilesStore(place, clock=clock) as store:
        turn(store, clock, "common")
        path = place / "a.jsonl"
        base = path.read_bytes()
        turn(store, clock, "here")
        here = path.read_bytes()[len(base) :]
        path.write_bytes(base)
        turn(store, clock, "there")
        there = path.read_bytes()[len(base) :]
        markers = [b"<<<<<<< HEAD\n", there, b"=======\n", here, b">>>>>>> other\n"]
        path.write_bytes(base + b"".join(markers))
        expected = ["common?", "common.", "here?", "here.", "there?", "there."]
        assert texts(store) == expected
        (problem,) = store.check()
        assert "conflict markers" in problem.what
        store.check(repair=True)
        assert b"<<<<" not in path.read_bytes()
        assert texts(store) == expected
        assert store.check() == []


def test_a_session_begun_on_two_machines(tmp_path):
    """Two sessions with one id, merged into one file, are one session that has the messages of both."""
    clock = FakeClock()
    for name in ("one", "two"):
        with JsonlFilesStore(tmp_path / name, clock=clock) as store:
            turn(store, clock, name)
    path = tmp_path / "one" / "a.jsonl"
    path.write_bytes((tmp_path / "two" / "a.jsonl").read_bytes() + path.read_bytes())
    with JsonlFilesStore(tmp_path / "one", clock=clock) as store:
        assert texts(store) == ["one?", "one.", "two?", "two."]
        store.append("a", Message("user", "on"))
        assert texts(store)[-1] == "on"
    lines = map(json.loads, path.read_text().splitlines())
    assert sum("format" in line for line in lines) == 1
