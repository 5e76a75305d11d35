"""Damage of session files: found, named, and mended with nothing lost."""

import pytest

from omniagent_cli.errors import CorruptSession
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore

HEADER = b'{"header":'


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "sessions"
    with JsonlFilesStore(place) as store:
        for word in ("apple", "pear", "plum"):
            store.append("a", Message("user", word))
        store.put_attachment("a", "f" * 64, {"name": "x"})
        store.set_metadata("a", "k", 1)
        store.append("a", Message("user", "grape"))
        store.append("b", Message("user", "other"))
    return place


def zeros(data):
    middle = data.index(b"pear")
    return data[:middle] + b"\0" * 4 + data[middle + 4 :]


def garbage(data):
    middle = data.rindex(b'{"id":', 0, data.index(b'"pear"'))
    return data[:middle] + b"?" * 20 + data[middle + 20 :]


def lost_fact(data):
    begin = data.rindex(HEADER)
    return data[:begin] + b"[" + data[begin + 1 :]


def broken_fact(data):
    return data.replace(b'"metadata":{"k"', b'"metadata":["k"', 1)


def torn(data):
    return data + b'{"id":"x","ro'


DAMAGE = {
    "zeros": (zeros, ["apple", None, "plum", "grape"], {"k": 1}),
    "garbage": (garbage, ["apple", None, "plum", "grape"], {"k": 1}),
    "lost-fact": (lost_fact, ["apple", "pear", "plum", None, "grape"], {}),
    "broken-fact": (broken_fact, ["apple", "pear", "plum", "grape"], {}),
    "torn": (torn, ["apple", "pear", "plum", "grape"], {"k": 1}),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_mended(place, kind):
    """Each kind of damage is named with its session, mended on request after a copy, and then gone."""
    damage, texts, metadata = DAMAGE[kind]
    path = place / "a.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    damaged = path.read_bytes()
    with JsonlFilesStore(place) as store:
        found = store.check()
        assert {problem.session_id for problem in found} == {"a"}
        assert not any(problem.repaired for problem in found)
        assert path.read_bytes() == damaged
        mended = store.check(repair=True)
        assert any(problem.repaired for problem in mended)
        with JsonlFilesStore(mended.copied_to) as copy:
            assert (copy._layout.root / "a.jsonl").read_bytes() == damaged
        session = store.get("a")
        assert len(session.messages) == len(texts)
        assert [
            m.content if t else None for m, t in zip(session.messages, texts, strict=True)
        ] == texts
        assert session.metadata == metadata
        assert store.attachment("a", "f" * 64) == {"name": "x"}
        assert store.append("a", Message("user", "on"))[0].position == len(texts)
        assert not any("cannot be read" in problem.what for problem in store.check())
        assert all("interrupted change" in problem.what for problem in store.check())


def test_a_log_that_lost_its_first_line_is_told(place):
    """A damaged first line is told, and is neither mended by guessing nor overwritten."""
    path = place / "a.jsonl"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with JsonlFilesStore(place) as store:
        (problem,) = store.check()
        assert str(path) in problem.what
        with pytest.raises(CorruptSession):
            store.get("a")
        assert [summary.id for summary in store.list()] == ["b"]


def test_other_peoples_files_are_no_problem(place):
    """A file that is not ours is none of our business."""
    (place / "notes.jsonl").write_text('{"my":"own"}\n{"and":"more"}\n')
    with JsonlFilesStore(place) as store:
        assert store.check() == []


@pytest.mark.parametrize("kind", ["deleted", "trimmed"])
@pytest.mark.parametrize("cut", [5, 300])
def test_damaged_trash_is_told_and_mended(place, kind, cut):
    """What lost its end in the trash is never taken for nothing: others come back, it is named, and mended."""
    with JsonlFilesStore(place) as store:
        store.delete("b")
        if kind == "deleted":
            store.delete("a")
        else:
            store.trim("a", 1)
    path = max((place / ".omniagent/hidden").iterdir(), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:-cut])
    with JsonlFilesStore(place) as store:
        if kind == "deleted":  # it lost the line that says why it is hidden
            with pytest.raises(CorruptSession):
                store.trash()
            with pytest.raises(CorruptSession):
                store.restore("a")
        store.restore("b")
        assert any("hidden" in problem.what for problem in store.check())
        store.check(repair=True)
        assert all("interrupted change" in problem.what for problem in store.check())
        (entry,) = store.trash()
        assert entry.message_count in (1, 2, 3, 4)
        store.restore(entry.session_id, as_id="back")
        assert {"apple"} <= {message.text for message in store.messages("back")}


def test_a_hidden_log_that_lost_its_first_line_is_told(place):
    """In the directory that is ours alone, any file that is no log is a problem."""
    with JsonlFilesStore(place) as store:
        store.delete("b")
        (path,) = (place / ".omniagent/hidden").iterdir()
        path.write_bytes(path.read_bytes()[:20])
        (problem,) = store.check()
        assert str(path) in problem.what


def test_a_damaged_message_with_keys_of_ours_breaks_nothing(place):
    """A message line that is not JSON is reported by the operation that reads it, and repaired on request."""
    with JsonlFilesStore(place) as store:
        for _ in range(2):
            store.append("a", {"role": "user", "content": "x", "extra": {"status": "?"}})
        path = place / "a.jsonl"
        path.write_bytes(path.read_bytes().replace(b'"content":"x"', b'"content":"x\x01', 1))
        with pytest.raises(CorruptSession, match="damaged at line"):
            store.trim("a", 1)
        store.check(repair=True)
        assert store.check() == []
        store.trim("a", 1)
        assert store.messages("a", last=1)[0].text == "x"
