"""Sessions by the directory they began in (`--here`), and trees of forks."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout

import pytest

from omniagent_cli import Message
from omniagent_cli.cli import main
from omniagent_cli.config.session_origin import git_branch
from omniagent_cli.stores import open_store
from omniagent_cli.testing.clock import FakeClock


@pytest.fixture
def at(db, home, monkeypatch):
    """Run a command in a directory; return its output and its exit code."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))

    def at(cwd, *argv):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(argv, environ={"HOME": str(home), "OMNIAGENT_STORE": str(db)}, cwd=cwd)
        return out.getvalue() + (err.getvalue() if code else ""), code

    return at


@pytest.fixture
def places(tmp_path):
    """Two directories; the first is inside a git work tree."""
    one, two = tmp_path / "repo" / "src", tmp_path / "two"
    one.mkdir(parents=True)
    two.mkdir()
    (tmp_path / "repo/.git").mkdir()
    (tmp_path / "repo/.git/HEAD").write_text("ref: refs/heads/topic/x\n")
    return one, two


def test_sessions_remember_where_they_began(at, places, db):
    """`origin` has directory, branch and program; a later turn elsewhere does not change it."""
    one, two = places
    at(one, "ask", "-s", "a", "hi")
    at(two, "ask", "-s", "a", "again")
    at(two, "ask", "-s", "b", "hi")
    with open_store(db) as store:
        assert store.header("a").origin == {
            "cwd": str(one), "git_branch": "topic/x", "program": "omniagent ask",
        }  # fmt: skip
        assert store.summary("b").origin == {"cwd": str(two), "program": "omniagent ask"}
    assert '"git_branch":"topic/x"' in at(two, "sessions", "export", "a", "--format", "jsonl")[0]


def test_here(at, places, db):
    """`list --here`, `ask --here` and `chat -c --here` use the sessions that began in the directory."""
    one, two = places
    for place, name in ((one, "a"), (two, "b"), (one, "c")):
        at(place, "ask", "-s", name, "hi")
    listed = "sessions", "list", "--here", "--ids"
    assert at(one, *listed) == ("c\na\n", 0)
    at(one, "ask", "-s", "d", "hi")  # after the directory was recorded
    at(two, "ask", "-s", "a", "hi")
    assert at(one, *listed) == ("a\nd\nc\n", 0)
    assert at(two, *listed) == ("b\n", 0)
    at(two, "ask", "--here", "what did I say?")
    with open_store(db) as store:
        assert store.count_messages("b") == 4
    at(one, "sessions", "rename", "d", "e")
    at(one, "sessions", "tag", "e", "+work")
    at(one, "sessions", "delete", "c", "--yes")
    assert at(one, *listed) == ("a\ne\n", 0)
    assert at(one, *listed, "--tag", "work") == ("e\n", 0)
    at(one, "sessions", "restore")
    assert at(one, *listed, "--limit", "2") == ("a\ne\n", 0)
    assert sorted(at(one, *listed)[0].split()) == ["a", "c", "e"]


def test_nothing_here(at, places):
    """Without a session of the directory, --here fails and says so."""
    one, _ = places
    text, code = at(one, "ask", "--here", "hi")
    assert (code, text) == (1, f"omniagent: error: no session began in {one}; start one without --here, or choose one with --session\n")  # fmt: skip


def test_imported_sessions_are_here_too(at, places, tmp_path):
    """An import keeps the origin, and its sessions are found in directories that were listed before."""
    one, two = places
    at(one, "ask", "-s", "a", "hi")
    exported = tmp_path / "a.jsonl"
    at(one, "sessions", "export", "a", "-o", str(exported))
    at(one, "sessions", "delete", "a", "--yes", "--purge")
    assert at(one, "sessions", "list", "--here", "--ids") == ("", 0)
    at(two, "sessions", "import", str(exported))
    assert at(one, "sessions", "list", "--here", "--ids") == ("a\n", 0)


def test_the_branch_of_a_linked_worktree(tmp_path):
    """A file `.git` leads to the directory of the worktree; a detached commit has no branch."""
    linked = tmp_path / "linked"
    linked.mkdir()
    (tmp_path / "main/worktrees/linked").mkdir(parents=True)
    (linked / ".git").write_text("gitdir: ../main/worktrees/linked\n")
    head = tmp_path / "main/worktrees/linked/HEAD"
    head.write_text("ref: refs/heads/fix\n")
    assert git_branch(linked) == "fix"
    head.write_text("4b825dc642cb6eb9a060e54bf8d69288fbee4904\n")
    assert git_branch(linked) == ""


def test_tree(run, filled):
    """`sessions tree` prints depth, id, position, parent, title and count; --json has the same."""
    run("sessions", "fork", "alice", "what-if", "--at", "1")
    run("sessions", "fork", "what-if", "again")
    run("sessions", "delete", "alice", "--yes")
    ran = run("sessions", "tree")
    assert ran.cells == [
        ["0", "alice", "", "", "", ""],
        ["1", "what-if", "1", "alice", "My name is Alice (fork)", "2"],
        ["2", "again", "1", "what-if", "My name is Alice (fork 2)", "2"],
    ]
    assert [row["exists"] for row in run("sessions", "tree", "again", "--json").json] == [False, True, True]  # fmt: skip
    assert run("sessions", "tree", "bob").out == ""


def test_here_finds_synchronized_sessions(at, places, db, tmp_path):
    """A session that a synchronization brings or renames is found in its directory."""
    one, _ = places
    other = f"sqlite:///{tmp_path}/other.db"
    with open_store(other, ttl=None, clock=FakeClock()) as store:
        store.write("b", Message("user", "hi"), origin={"cwd": str(one)})
    at(one, "ask", "-s", "a", "hi")
    assert at(one, "sessions", "list", "--here", "--ids") == ("a\n", 0)
    assert at(one, "store", "sync", other)[1] == 0
    assert set(at(one, "sessions", "list", "--here", "--ids")[0].split()) == {"a", "b"}
    at(one, "sessions", "rename", "a", "c", "--store", other)
    assert at(one, "store", "sync", other)[1] == 0
    assert set(at(one, "sessions", "list", "--here", "--ids")[0].split()) == {"b", "c"}
