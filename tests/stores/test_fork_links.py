"""Trees of forks: links by uid and id, deleted sessions, rings, and long chains."""

from __future__ import annotations

import pytest

from omniagent_cli.stores import open_store
from omniagent_cli.ui.fork_tree import rows_of, tree_record


@pytest.fixture
def store():
    with open_store("memory:") as opened:
        opened.append(
            "trip", [{"role": "user", "content": word} for word in ("one", "two", "three")]
        )
        opened.set_title("trip", "Trip")
        yield opened


def drawn(store, session_id=None):
    rows = rows_of(store.list(archived=None), session_id)
    return [f"{row.guide}{row.branch.id} {row.branch.at}" for row in rows]


def test_forks_are_below_their_session(store):
    """Forks are ordered by the position they were copied up to, and links follow renames."""
    store.fork("trip", "late")
    store.fork("trip", "early", at=0)
    store.fork("early", "deep")
    store.rename("trip", "rome")
    store.rename("early", "first")
    store.append("other", {"role": "user", "content": "no fork"})
    expected = ["rome None", "├─ first 0", "│  └─ deep 0", "└─ late 2"]
    assert drawn(store) == expected
    assert drawn(store, "deep") == expected
    assert drawn(store, "other") == []


def test_a_deleted_session_keeps_its_place(store):
    """Forks of a deleted session stay together, below the id that it had."""
    store.fork("trip", "a")
    store.fork("trip", "b", at=1)
    store.fork("a", "c")
    store.delete("trip")
    assert drawn(store) == ["trip None", "├─ b 1", "└─ a 2", "   └─ c 2"]
    assert [tree_record(row)["exists"] for row in rows_of(store.list())] == [
        False,
        True,
        True,
        True,
    ]
    store.delete("a")
    assert drawn(store, "c") == ["a None", "└─ c 2"]
    store.restore("a")
    store.restore("trip")
    assert drawn(store) == ["trip None", "├─ b 1", "└─ a 2", "   └─ c 2"]


def test_links_set_by_hand_form_no_ring(store):
    """Two sessions that name each other are drawn once each; a link that is no text is ignored."""
    store.append("b", {"role": "user", "content": "x"})
    store.set_metadata("trip", "forked_from", "b")
    store.set_metadata("b", "forked_from", "trip")
    store.append("c", {"role": "user", "content": "x"})
    store.set_metadata("c", "forked_from", ["trip"])
    assert sorted(line.split()[-2] for line in drawn(store)) == ["b", "trip"]


def test_titles_say_that_they_are_forks(store):
    """A fork's title ends with (fork), a fork of it with (fork 2); without a title there is nothing to mark."""
    store.fork("trip", "a")
    store.fork("a", "b")
    assert [store.summary(one).title for one in ("a", "b")] == ["Trip (fork)", "Trip (fork 2)"]
    store.set_title("trip", "")
    store.fork("trip", "c")
    assert store.summary("c").title == ""


def test_a_chain_of_thousands_is_drawn(store):
    """The depth of a tree is limited by nothing but memory."""
    for number in range(2000):
        store.fork("trip" if number == 0 else f"f{number - 1}", f"f{number}", at=0)
    assert len(drawn(store)) == 2001
