"""Synchronization through a directory: machines that never meet, each with files of its own."""

import json
import shutil
from contextlib import ExitStack

import pytest

from omniagent_cli import Passphrase, open_store
from omniagent_cli.errors import DecryptionError, EncryptedStore, SyncError
from omniagent_cli.stores.sync import carrier
from omniagent_cli.stores.sync.carrier import sync_directory
from tests.stores.test_sync import said, turn


@pytest.fixture
def machines(tmp_path):
    """Three stores of different machines and the directory."""
    place = tmp_path / "shared"
    place.mkdir()
    with ExitStack() as stack:
        urls = (tmp_path / "a.db", f"file://{tmp_path}/b", "memory:")
        yield place, [stack.enter_context(open_store(url)) for url in urls]


def files(place):
    """Return the names of the files, without the ids of the stores."""
    return sorted(path.name.rpartition("-")[2] for path in place.iterdir())


def test_machines_that_never_meet(machines):
    """Each machine leaves a file and reads those of the others, until all have everything."""
    place, (one, two, three) = machines
    one.append("s", turn("a"))
    one.put_attachment("s", "ab" * 32, {"name": "n", "data": "QQ=="})
    one.append("gone", turn("x"))
    for store in (one, two, three):
        assert sync_directory(store, place).ok
    assert said(two, "s") == said(three, "s") == ["a", "re: a"]
    assert two.attachment("s", "ab" * 32) == {"name": "n", "data": "QQ=="}
    two.append("s", turn("b"))
    two.rename("s", "t")
    three.delete("gone")
    for store in (two, three, one, two):
        assert sync_directory(store, place).ok
    for store in (one, two, three):
        assert said(store, "t") == ["a", "re: a", "b", "re: b"]
        assert not store.exists("gone")
        assert not list(store.check())
    before = files(place)
    for store in (one, two, three):
        sync_directory(store, place)
    for store in (one, two, three):
        assert not sync_directory(store, place).changes
    assert len(files(place)) <= len(before) + 3


def test_a_dry_run_leaves_nothing(machines):
    """A dry run reports what would come and go, writes no file, and reads the files again the next time."""
    place, (one, two, _) = machines
    one.append("s", turn("a"))
    planned = sync_directory(one, place, dry_run=True)
    assert ([c.session_id for c in planned.changes], files(place)) == (["s"], [])
    sync_directory(one, place)
    planned = sync_directory(two, place, dry_run=True)
    assert [(c.session_id, c.received, c.status) for c in planned.changes] == [("s", 2, "new here")]
    assert not two.exists("s")
    assert sync_directory(two, place).changes[0].received == 2


def test_only_what_changed_is_written(machines):
    """A new generation has the sessions that changed; after many, one is complete and the others are removed."""
    place, (one, two, _) = machines
    for number in range(5):
        one.append(f"s{number}", turn(f"{number}"))
    sync_directory(one, place)
    one.append("s1", turn("more"))
    sync_directory(one, place)
    (newest,) = place.glob("*-00000002.jsonl")
    entries = [line for line in newest.read_text().splitlines() if '"entry"' in line]
    assert len(entries) == 1
    for number in range(carrier.MAX_GENERATIONS):
        one.append("s1", turn(f"m{number}"))
        sync_directory(one, place)
    assert len(files(place)) <= 3
    sync_directory(two, place)
    assert said(two, "s1") == said(one, "s1")
    assert said(two, "s4") == ["4", "re: 4"]


def test_an_incomplete_file_is_read_again(machines):
    """A file that has not been carried completely is reported, and read when it is whole."""
    place, (one, two, _) = machines
    one.append("s", turn("a"))
    one.append("t", turn("b"))
    sync_directory(one, place)
    (path,) = place.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b'{"last"')])
    report = sync_directory(two, place)
    assert "is incomplete" in report.notes[0]
    path.write_bytes(whole)
    sync_directory(two, place)
    assert (said(two, "s"), said(two, "t")) == (["a", "re: a"], ["b", "re: b"])


def test_two_copies_of_a_store(machines, tmp_path):
    """A copy of a store that finds files it did not write gets an id of its own, and loses nothing."""
    place, (one, _, three) = machines
    one.append("s", turn("a"))
    sync_directory(one, place)
    one.backup(tmp_path / "copy.db")
    one.append("s", turn("b"))
    sync_directory(one, place)
    with open_store(tmp_path / "copy.db") as copy:
        copy.append("s", turn("c"))
        report = sync_directory(copy, place)
        assert "was given a new id" in report.notes[0]
        sync_directory(one, place)
        sync_directory(three, place)
        assert said(copy, "s") == said(one, "s") == said(three, "s")
        assert len(said(one, "s")) == 6


@pytest.mark.parametrize("key", [bytes(range(32)), Passphrase("the same on both")])
def test_encrypted(tmp_path, key):
    """The files of an encrypted store contain nothing readable, and are read with its key or passphrase only."""
    place = tmp_path / "shared"
    place.mkdir()
    with (
        open_store(tmp_path / "a.db", encrypt=key) as one,
        open_store(tmp_path / "b.db", encrypt=key) as two,
        open_store(tmp_path / "c.db", encrypt=bytes(32)) as stranger,
        open_store(tmp_path / "d.db") as plain,
    ):
        one.append("s", turn("rhubarb"))
        sync_directory(one, place)
        assert not any(b"rhubarb" in path.read_bytes() for path in place.iterdir())
        sync_directory(two, place)
        assert said(two, "s") == ["rhubarb", "re: rhubarb"]
        with pytest.raises(DecryptionError, match="another key"):
            sync_directory(stranger, place)
        with pytest.raises(EncryptedStore, match="is encrypted"):
            sync_directory(plain, place)
        shutil.rmtree(place)
        place.mkdir()
        plain.append("p", turn("x"))
        sync_directory(plain, place)
        with pytest.raises(EncryptedStore, match="is not encrypted, but this store is"):
            sync_directory(one, place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [b"nonsense", *lines[1:]], "not JSON"),
        (lambda lines: [json.dumps({"omniagent-carrier": 9}).encode()], "another version"),
        (lambda lines: [lines[0], b'{"entry":[],"state":{}}'], "invalid data"),
        (lambda lines: [lines[0], *lines[2:]], "invalid data"),
    ],
)
def test_hostile_files(machines, change, message):
    """A file that another program wrote, or changed, is an error that names it, and changes nothing."""
    place, (one, two, _) = machines
    one.append("s", turn("a"))
    sync_directory(one, place)
    (path,) = place.iterdir()
    path.write_bytes(b"\n".join(change(path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(SyncError, match=message):
        sync_directory(two, place)
    assert not two.count()
    assert not list(two.check())


def test_other_files_are_left_alone(machines):
    """Files of other programs in the directory are neither read nor removed."""
    place, (one, two, _) = machines
    (place / "notes.txt").write_text("mine")
    one.append("s", turn("a"))
    sync_directory(one, place)
    copied = next(place.glob("*.jsonl"))
    (place / f"{copied.stem} (conflicted copy).jsonl").write_bytes(copied.read_bytes())
    sync_directory(two, place)
    assert said(two, "s") == ["a", "re: a"]
    assert (place / "notes.txt").read_text() == "mine"
