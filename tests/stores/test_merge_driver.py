"""`omniagent store merge-driver`: git merges two clones of a JSON-file store that changed one session."""

import subprocess
import sys
from pathlib import Path

import pytest

from omniagent_cli import open_store
from omniagent_cli.stores import with_encryption
from omniagent_cli.stores.backends.jsonl.merge_driver import merge_files
from tests.stores.test_sync import said, turn

ROOT = Path(__file__).resolve().parents[2]
KEY = bytes(range(32))


def git(place, *words):
    """Run git, which commits as nobody in particular."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *who, *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def opened(place, *, secret=False):
    store = open_store(f"file://{place}", ttl=None)
    return with_encryption(store, KEY) if secret else store


@pytest.fixture(params=[False, True], ids=["plain", "encrypted"])
def clones(tmp_path, request):
    """Two clones of a store with three turns, with the driver configured as the manual says."""
    one, two = tmp_path / "one", tmp_path / "two"
    with opened(one, secret=request.param) as store:
        store.append("a", turn("first") + turn("second") + turn("third"))
    (one / ".gitattributes").write_text("*.jsonl merge=omniagent\n")
    git(one, "init", "-q")
    git(one, "add", "-A")
    git(one, "commit", "-qm", "begin")
    git(tmp_path, "clone", "-q", "one", "two")
    driver = f"cd {ROOT} && {sys.executable} -m omniagent_cli store merge-driver"
    for place in (one, two):
        paths = " ".join(f'"$OLDPWD/{part}"' for part in ("%O", "%A", "%B"))
        git(place, "config", "merge.omniagent.driver", f"{driver} {paths}")
    return one, two, request.param


def merge(one, two):
    """Commit both clones and merge the second into the first."""
    for place in (one, two):
        git(place, "commit", "-qam", "work")
    git(one, "pull", "-q", "--no-rebase", "--no-edit", str(two), "main")


def test_both_appended(clones):
    """All messages of both are there, in whole turns, encrypted or not."""
    one, two, secret = clones
    with opened(one, secret=secret) as store:
        store.append("a", turn("ours"))
    with opened(two, secret=secret) as store:
        store.append("a", turn("theirs"))
    merge(one, two)
    with opened(one, secret=secret) as store:
        assert len(said(store, "a")) == 10
        assert said(store, "a")[6:] == ["ours", "re: ours", "theirs", "re: theirs"]
        assert list(store.check()) == []


def test_what_lines_cannot_do(tmp_path, clones):
    """A trim that was compacted away, an edit, and titles on both sides come out as after a synchronization."""
    one, two, secret = clones
    if secret:
        return  # an encrypted log is merged by lines
    with opened(one) as store:
        store.set_title("a", "Ours")
        store.trim("a", 4)
        store.compact()
    with opened(two) as store:
        store.set_message_status("a", 4, "failed")
        store.set_title("a", "Theirs, later")
        store.tag("a", ["new"])
        store.append("a", turn("fourth"))
    merge(one, two)
    with opened(one) as store:
        session = store.get("a")
        assert (session.title, session.metadata) == ("Theirs, later", {"tags": ["new"]})
        assert [(m.text, m.status) for m in session.messages] == [
            ("second", "complete"),
            ("re: second", "complete"),
            ("third", "failed"),
            ("re: third", "complete"),
            ("fourth", "complete"),
            ("re: fourth", "complete"),
        ]
        assert list(store.check()) == []


def test_files_that_are_not_versions_of_one_session(tmp_path):
    """Files that are damaged, not session logs, or of different sessions are a conflict, and stay as they are."""
    with opened(tmp_path / "s") as store:
        store.append("a", turn("a"))
        store.append("b", turn("b"))
    ours, theirs = tmp_path / "s" / "a.jsonl", tmp_path / "s" / "b.jsonl"
    other = tmp_path / "notes.jsonl"
    other.write_text("not a log\n")
    for pair in ((ours, theirs), (ours, other), (other, ours)):
        before = pair[0].read_bytes()
        assert not merge_files(*pair)
        assert pair[0].read_bytes() == before


def test_conflict_copies_are_merged_by_a_synchronization(tmp_path):
    """A copy that a sync tool left beside a file is merged into it when the store is synchronized."""
    place = tmp_path / "s"
    with opened(place) as store:
        store.append("a", turn("a"))
        copy = (place / "a.jsonl").read_bytes()
        store.append("a", turn("ours"))
    (place / "a.sync-conflict-20260101-120000-ABCDEFG.jsonl").write_bytes(copy)
    with opened(place) as store, open_store("memory:") as other:
        report = store.sync(other)
        assert "sync-conflict" in report.notes[0]
        assert said(other, "a") == ["a", "re: a", "ours", "re: ours"]
    assert not list(place.glob("*sync-conflict*"))
