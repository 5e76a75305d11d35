"""Stores of version 1 in tests/stores/version1, which the program before this form wrote: read, and rewritten."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from omniagent_cli.errors import CorruptSession, EncryptedStore, NewerVersion
from omniagent_cli.models import Message
from omniagent_cli.stores import with_encryption
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.testing import FakeClock

OLD = Path(__file__).with_name("version1")
KEY = bytes(range(32))
STEPS = {"open", "os.rename", "os.remove", "os.truncate"}


@pytest.fixture(params=["plain", "encrypted"])
def kind(request):
    return request.param


@pytest.fixture
def place(tmp_path, kind):
    shutil.copytree(OLD / kind, tmp_path / "s")
    return tmp_path / "s"


def opened(place, **options):
    clock = FakeClock()
    clock.advance("2d")
    store = JsonlFilesStore(place, clock=clock, **options)
    encrypted = '"encryption"' in (place / ".omniagent/store.json").read_text()
    return with_encryption(store, KEY) if encrypted else store


def contents(store):
    """Return everything that the old program stored."""
    sessions = {}
    for summary in store.list(archived=None):
        session = store.get(summary.id)
        session.revision = 0
        records = [
            *store.iter_records(summary.id, "attachment"),
            *store.iter_records(summary.id, "summary"),
        ]
        sessions[summary.id] = (session, records, summary.preview, summary.message_count)
    return sessions, store.trash()


def check_contents(found):
    sessions, trash = found
    assert sessions.keys() == {"recipes", "User/1"}
    session, records, preview, count = sessions["recipes"]
    texts = [(m.position, m.content) for m in session.messages]
    assert texts == [(0, "apple"), (1, "pear"), (2, "plum"), (4, "after")]
    assert (preview, count, session.title) == ("after", 4, "Fruit")
    assert session.metadata == {"tags": ["x", "y"], "pinned": True}
    assert session.state == {"k": {"n": 1}}
    assert records[0] == ("a" * 64, {"media_type": "text/plain", "data": "eA=="})
    assert sessions["User/1"][0].messages[0].record["payload"] == "mine"
    assert sessions["User/1"][0].ttl_seconds == 30 * 86400
    assert sorted((entry.kind, entry.session_id) for entry in trash) == [
        ("deleted", "gone"),
        ("undone", "recipes"),
    ]


def versions(place):
    return {
        path.read_bytes().partition(b"\n")[0].count(b'"version":2')
        for path in place.rglob("*.jsonl")
    }


def test_an_old_store_reads_without_being_changed(place):
    """A read-only store of version 1 reads as it is, and no file changes."""
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    with opened(place, read_only=True) as store:
        check_contents(contents(store))
        assert [m.content for m in store.messages("recipes", last=2)] == ["plum", "after"]
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


def test_the_first_write_rewrites_it(place, tmp_path):
    """The first write backs the store up, rewrites every log and the version, and changes nothing else."""
    with opened(place, read_only=True) as store:
        expected = contents(store)
    with opened(place) as store:
        store.append("new", Message("user", "one"))
        assert versions(place) == {1}
        sessions, trash = contents(store)
        assert sessions.pop("new")
        assert (sessions, trash) == expected
        assert store.check() == []
        (backup,) = store.known_backups()
        store.restore("recipes")
        assert [m.content for m in store.messages("recipes")] == [
            "apple",
            "pear",
            "plum",
            "grape",
            "after",
        ]
    assert Path(backup).name.startswith("s.before-version-2-")
    with opened(Path(backup), read_only=True) as store:
        assert contents(store) == expected
    assert versions(Path(backup)) == {0}


def test_killed_at_every_step(place, tmp_path):
    """A migration killed at any step loses nothing, and the next start completes it."""
    with opened(place, read_only=True) as store:
        expected = contents(store)
    number = 0
    while True:
        number += 3
        torn = tmp_path / "torn" / "s"
        shutil.copytree(place, torn)
        child = os.fork()
        if not child:
            left = number

            def hook(event, arguments, root=str(torn.parent)):
                nonlocal left
                if event in STEPS and str(arguments[0]).startswith(root):
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            with opened(torn) as store:
                store.append("new", Message("user", "one"))
            os._exit(0)
        done = os.waitpid(child, 0)[1] == 0
        with opened(torn, read_only=True) as store:
            sessions, trash = contents(store)
            sessions.pop("new", None)
            assert (sessions, trash) == expected, number
        with opened(torn) as store:
            store.append("on", Message("user", "one"))
            assert versions(torn) == {1}
            assert not list(torn.parent.glob("*.part"))
            sessions, trash = contents(store)
            assert sessions.pop("on")
            sessions.pop("new", None)
            assert (sessions, trash) == expected, number
        shutil.rmtree(torn.parent)
        if done:
            break
    assert number > 20


def test_a_damaged_old_session_blocks_no_other(tmp_path):
    """A damaged log of version 1 is left for the repair, and all others are rewritten; noted backups stay noted."""
    place = tmp_path / "s"
    shutil.copytree(OLD / "plain", place)
    path, manifest = place / "recipes.jsonl", place / ".omniagent/store.json"
    path.write_bytes(path.read_bytes().replace(b'"apple"', b'"app\x00e"'))
    manifest.write_text(
        manifest.read_text().replace('"meta":{}', f'"meta":{{"backups":"{tmp_path}\\n"}}')
    )
    with JsonlFilesStore(place, clock=FakeClock()) as store:
        store.append("User/1", Message("user", "on"))
        assert store.messages("User/1", last=1)[0].content == "on"
        assert store.known_backups()[0] == str(tmp_path)
        assert len(store.known_backups()) == 2
        with pytest.raises(CorruptSession, match="recipes"):
            store.append("recipes", Message("user", "on"))
        assert any(problem.session_id == "recipes" for problem in store.check())
        store.check(repair=True)
        store.append("recipes", Message("user", "on"))
        assert [m.content for m in store.messages("recipes")][1:] == ["pear", "plum", "after", "on"]
        assert store.check() == []


def test_an_old_log_in_a_new_store(tmp_path):
    """A log of version 1 that was copied into a store is read, and rewritten by the next write to it."""
    place = tmp_path / "s"
    with JsonlFilesStore(place) as store:
        store.append("other", Message("user", "one"))
        shutil.copy(OLD / "plain" / "recipes.jsonl", place)
        assert [m.content for m in store.messages("recipes")] == ["apple", "pear", "plum", "after"]
        assert store.check() == []
        store.append("recipes", Message("user", "on"))
        assert b'"version":2' in (place / "recipes.jsonl").read_bytes()
        assert [m.content for m in store.messages("recipes")][-2:] == ["after", "on"]


def test_without_the_key(tmp_path):
    """An encrypted store of version 1 lists without its key, and a write asks for it before anything changes."""
    place = tmp_path / "s"
    shutil.copytree(OLD / "encrypted", place)
    with JsonlFilesStore(place, clock=FakeClock()) as store:
        assert {summary.id for summary in store.list()} == {"recipes", "User/1"}
        with pytest.raises(EncryptedStore):
            store.append("recipes", Message("user", "x"))


def test_a_newer_store_is_refused(tmp_path):
    """A store of a version that is not known is refused."""
    place = tmp_path / "s"
    shutil.copytree(OLD / "plain", place)
    manifest = place / ".omniagent/store.json"
    manifest.write_text(manifest.read_text().replace('"version":1', '"version":3'))
    with pytest.raises(NewerVersion):
        JsonlFilesStore(place)
