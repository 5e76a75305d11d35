"""`omniagent store migrate`."""

from __future__ import annotations

from datetime import UTC, datetime

from omniagent_cli.stores import open_store
from tests.cli.scene import CLOCK, talk


def test_everything_goes_over(run, filled, db, tmp_path):
    """All sessions are copied into a store that is made, and a second run finds them there."""
    CLOCK.now = datetime.now(UTC)  # what was deleted long ago is not in the trash any more
    filled.append("gone", {"role": "user", "content": "x"})
    filled.delete("gone")
    target = tmp_path / "files"
    ran = run("store", "migrate", str(db), f"{target}/")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "Copied 3 sessions, copied 1 of the trash (8 messages)\n"
    assert run("sessions", "list", "--ids", store=f"{target}/").lines == ["carol", "bob", "alice"]
    assert run("sessions", "show", "alice", "--json", store=f"{target}/").json["messages"]
    ran = run("store", "migrate", str(db), f"{target}/")
    assert (ran.code, ran.err) == (0, "Found 3 sessions already there\n")


def test_what_differs_is_refused(run, filled, db, tmp_path):
    """A different session is named with exit code 1; with --replace it goes to the trash."""
    with open_store(tmp_path / "other.db", ttl=None) as other:
        talk(other, "bob", "mine")
    ran = run("store", "migrate", str(db), "other.db")
    assert ran.code == 1
    assert "'bob' was not copied: " in ran.err
    assert "Copied 2 sessions, refused 1 session" in ran.err
    ran = run("store", "migrate", str(db), "other.db", "--replace", "--json")
    assert (ran.code, ran.json["replaced"], ran.json["equal"]) == (0, 1, 2)
    with open_store(tmp_path / "other.db", ttl=None) as other:
        assert other.count_messages("bob") == 2
        assert [entry.session_id for entry in other.trash()] == ["bob"]


def test_some_sessions_and_dry_run(run, filled, db, tmp_path):
    """Named sessions go alone; an unknown one stops it; a dry run makes nothing."""
    ran = run("store", "migrate", str(db), "other.db", "alice", "--dry-run")
    assert (ran.code, ran.err) == (0, "Dry run: would have copied 1 session (4 messages)\n")
    assert not (tmp_path / "other.db").exists()
    ran = run("store", "migrate", str(db), "other.db", "alice", "bobb")
    assert (ran.code, ran.err) == (
        1,
        "omniagent: error: there is no session 'bobb'; did you mean 'bob'?\n",
    )
    assert run("store", "migrate", str(db), "other.db", "alice").code == 0
    assert run("sessions", "list", "--ids", store="other.db").lines == ["alice"]


def test_named_stores(run, filled, db, tmp_path):
    """Stores can be named as the settings name them."""
    run("config", "set", "stores.old.url", str(db))
    run("config", "set", "stores.new.url", str(tmp_path / "new.db"))
    assert run("store", "migrate", "@old", "@new").code == 0
    assert run("sessions", "list", "--ids", store="@new").lines == ["carol", "bob", "alice"]


def test_no_store_to_read(run, tmp_path):
    """A source that is not there, and a store onto itself, are told as that."""
    ran = run("store", "migrate", "typo.db", "other.db")
    assert ran.code == 1
    assert f"no store at {tmp_path}/typo.db" in ran.err
    assert not (tmp_path / "other.db").exists()
    with open_store(tmp_path / "a.db") as store:
        store.append("s", {"role": "user", "content": "x"})
    assert run("store", "migrate", "a.db", "a.db").code == 2


def test_what_differs_is_merged(run, filled, db, tmp_path):
    """With --merge, a different session gets the messages and later facts of the other one."""
    with open_store(tmp_path / "other.db", ttl=None) as other:
        talk(other, "bob", "mine")
    ran = run("store", "migrate", str(db), "other.db", "--merge", "--dry-run")
    assert "would have copied 2 sessions, merged 1 session (7 messages)" in ran.err
    ran = run("store", "migrate", str(db), "other.db", "--merge", "--json")
    assert (ran.code, ran.json["merged"], ran.json["copied"], ran.json["refused"]) == (0, 1, 2, [])
    with open_store(tmp_path / "other.db", ttl=None) as other:
        assert other.count_messages("bob") == 3
    assert run("store", "migrate", str(db), "other.db", "--merge", "--replace").code == 2
