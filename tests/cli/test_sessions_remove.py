"""`omniagent sessions trim`, `clear`, `delete`, and their undo."""

from __future__ import annotations

from datetime import timedelta

import pytest

from omniagent_cli.stores import open_store
from tests.cli.scene import CLOCK, talk


def test_trim_keeps_the_last(run, filled):
    """Trim --keep N removes the older messages and says how many went."""
    ran = run("sessions", "trim", "alice", "--keep", "1", "--yes")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        "Removed 3 messages of the session 'alice'. Undo: omniagent sessions restore\n"
    )
    assert [message.text for message in filled.messages("alice")] == ["Alice"]


def test_trim_with_nothing_to_do_asks_nothing(run, filled):
    """Keeping as many as there are, or more, changes nothing and needs no consent."""
    for keep in ("4", "99"):
        ran = run("sessions", "trim", "alice", "--keep", keep)
        assert (ran.code, ran.err) == (0, "Nothing to trim\n")
    assert filled.count_messages("alice") == 4


@pytest.mark.parametrize("force", ["-y", "--yes", "--force"])
def test_clear_keeps_the_session(run, filled, force):
    """Clear removes the messages and keeps the session."""
    filled.set_metadata("alice", "k", 1)
    assert run("sessions", "clear", "alice", "bob", force).code == 0
    assert filled.count_messages("alice") == filled.count_messages("bob") == 0
    assert filled.header("alice").metadata == {"k": 1}
    assert filled.count_messages("carol") == 1


@pytest.mark.parametrize("verb", ["clear", "delete", "trim"])
def test_without_an_id_nothing_happens(run, filled, verb):
    """A removal that names no session refuses; it never means all of them."""
    more = ("--keep", "0") if verb == "trim" else ()
    ran = run("sessions", verb, "--yes", *more)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "omniagent: error: no sessions given; name them, or use --all, --older-than, --meta or --tag\n"
    )
    assert filled.count() == 3


def test_without_consent_nothing_happens(run, filled):
    """Where nobody can be asked, a removal names the count and needs --yes."""
    for words, action in (
        (("delete", "alice"), "delete the session 'alice' with 4 messages"),
        (("delete", "--all"), "delete 3 sessions with 7 messages"),
        (("delete", "alice", "--purge"), "delete the session 'alice' with 4 messages permanently"),
        (("clear", "alice", "bob"), "remove all 6 messages of 2 sessions"),
        (("trim", "--all", "--keep", "1"), "remove 4 messages of 2 sessions"),
    ):
        ran = run("sessions", *words)
        assert (ran.code, ran.out) == (1, "")
        assert ran.err == f"omniagent: error: this would {action}; use --yes to confirm\n"
    assert filled.count_messages("alice") == 4


def test_a_person_is_asked(person, filled):
    """A terminal is asked with the count; only yes is yes."""
    for answer, code, left in (("n", 1, 3), ("", 1, 3), ("\x04", 1, 3), ("y", 0, 2)):
        with person("sessions", "delete", "alice") as terminal:
            terminal.wait_for("Delete the session 'alice' with 4 messages? [y/N]")
            terminal.send(answer if answer == "\x04" else f"{answer}\r")
            assert terminal.wait() == code
        assert filled.count() == left
    assert "Deleted the session 'alice'" in terminal.shown


def test_dry_run_changes_nothing(run, filled):
    """--dry-run lists what would go, and nothing goes; it needs no consent."""
    ran = run("sessions", "delete", "--all", "--dry-run")
    assert (ran.code, ran.cells) == (0, [["carol", "1"], ["bob", "2"], ["alice", "4"]])
    assert ran.err == "Dry run: would delete 3 sessions with 7 messages\n"
    ran = run("sessions", "trim", "alice", "--keep", "1", "--dry-run", "--json")
    assert ran.json == [{"id": "alice", "messages": 3}]
    assert filled.count() == 3
    assert filled.count_messages("alice") == 4


def test_many_are_chosen_by_options(run, store):
    """--tag, --meta and --older-than choose together; pinned sessions stay unless included."""
    talk(store, "a", "x")
    talk(store, "b", "x")
    talk(store, "c", "x")
    for name in "ab":
        store.tag(name, ["old"])
    store.set_metadata("a", "team", "red")
    store.set_metadata("b", "pinned", True)
    choose = ("sessions", "delete", "--dry-run", "--older-than", "1s")
    assert run(*choose, "--tag", "old").cells == [["a", "1"]]
    assert run(*choose, "--tag", "old").err.startswith(
        "Skipped 1 pinned session. Use --include-pinned to include them.\n"
    )
    assert run(*choose, "--tag", "old", "--include-pinned").cells == [["b", "1"], ["a", "1"]]
    assert run(*choose, "--meta", "team=red", "--tag", "old").cells == [["a", "1"]]
    assert run(*choose, "--meta", "team=blue").err == "Nothing to delete\n"
    assert run("sessions", "delete", "b", "--dry-run").cells == [["b", "1"]]
    assert run("sessions", "delete", "b", "--all", "-y").code == 2


def test_one_missing_id_stops_all(run, filled):
    """When one of several ids is not there, none is removed."""
    ran = run("sessions", "delete", "alice", "nobody", "--yes")
    assert ran.code == 1
    assert filled.count() == 3


def test_removals_take_whole_ids_only(run, filled):
    """A removal takes no abbreviation and no @."""
    ran = run("sessions", "delete", "ali", "--yes")
    assert (ran.code, ran.err) == (
        1,
        "omniagent: error: there is no session 'ali'; did you mean 'alice'?\n",
    )
    for verb, more in (("delete", ()), ("clear", ()), ("trim", ("--keep", "0"))):
        ran = run("sessions", verb, "@", "--yes", *more)
        assert (ran.code, ran.err) == (
            1,
            "omniagent: error: @ is not accepted by commands that remove; write the full id of the session\n",
        )
    assert filled.count() == 3


def test_undo(run, filled):
    """Restore brings back the newest removal, or that of one session, or an entry under another id."""
    run("sessions", "trim", "alice", "--keep", "1", "-y")
    run("sessions", "delete", "bob", "-y")
    trash = run("sessions", "trash")
    assert [row[:3] for row in trash.cells] == [["bob", "deleted", "2"], ["alice", "trimmed", "3"]]
    assert (
        run("sessions", "restore", "alice").err
        == "Restored the trimmed messages of 'alice': 3 messages\n"
    )
    assert filled.count_messages("alice") == 4
    ran = run("sessions", "restore", "--as", "bob-2", "--json")
    assert (ran.json["id"], ran.json["restored_as"], ran.json["kind"]) == (
        "bob",
        "bob-2",
        "deleted",
    )
    assert ran.err == "Restored the session 'bob' as 'bob-2': 2 messages\n"
    assert filled.count_messages("bob-2") == 2


def test_a_bulk_removal_is_undone_as_a_whole(run, filled):
    """`restore` alone brings back all that the last command removed; another time what the one before did."""
    run("sessions", "trim", "alice", "--keep", "1", "-y")
    ran = run("sessions", "delete", "--all", "-y")
    assert ran.err.endswith("Undo: omniagent sessions restore\n")
    assert filled.count() == 0
    ran = run("sessions", "restore", "--json")
    assert {one["id"] for one in ran.json} == {"alice", "bob", "carol"}
    assert filled.count() == 3
    assert filled.count_messages("alice") == 1
    assert (
        run("sessions", "restore").err == "Restored the trimmed messages of 'alice': 3 messages\n"
    )
    assert filled.count_messages("alice") == 4


def test_several_sessions_are_restored(run, filled):
    """Ids, ids on stdin, and --all choose what is restored; a taken id does not stop the others."""
    run("sessions", "delete", "alice", "-y")
    run("sessions", "delete", "bob", "-y")
    run("sessions", "delete", "carol", "-y")
    assert run("sessions", "restore", "alice", "bob").code == 0
    assert filled.count() == 2
    run("sessions", "delete", "alice", "bob", "-y")
    assert run("sessions", "restore", "--stdin", stdin=b"alice\n").code == 0
    assert run("sessions", "restore", "alice", "--all").code == 2
    assert run("sessions", "restore", "--all", "--as", "x").code == 2
    talk(filled, "bob", "somebody else")
    ran = run("sessions", "restore", "--all")
    assert ran.code == 1
    assert "'bob'" in ran.err
    assert "Restored the session 'carol'" in ran.err
    assert filled.count() == 3
    assert run("sessions", "restore", "--entry", "nothing").code == 1


def test_restore_refuses_clearly(run, filled, db):
    """An empty trash, an unknown id and a taken id are told; nothing changes."""
    ran = run("sessions", "restore")
    assert (ran.code, ran.err) == (
        1,
        "omniagent: error: the trash is empty\n",
    )
    run("sessions", "delete", "alice", "-y")
    assert run("sessions", "restore", "alcie").err == (
        "omniagent: error: the trash has no entry of 'alcie'; did you mean 'alice'?\n"
    )
    talk(filled, "alice", "somebody else")
    ran = run("sessions", "restore", "alice")
    assert ran.code == 1
    assert "'alice'" in ran.err
    assert filled.count_messages("alice") == 1


def test_one_entry_of_several_is_restored(run, filled):
    """--entry takes exactly what 'trash' lists."""
    run("sessions", "trim", "alice", "--keep", "3", "-y")
    run("sessions", "trim", "alice", "--keep", "1", "-y")
    first = run("sessions", "trash", "--json").json[1]
    assert first["message_count"] == 1
    assert run("sessions", "restore", "--entry", first["entry"]).code == 0
    assert [m.position for m in filled.messages("alice")] == [0, 3]


def test_the_trash_is_emptied_on_demand(run, filled, person):
    """Trash --empty asks, and then nothing can be restored."""
    assert run("sessions", "trash", "--empty").err == "The trash is empty\n"
    run("sessions", "delete", "alice", "bob", "-y")
    ran = run("sessions", "trash", "--empty")
    assert (ran.code, ran.err) == (
        1,
        "omniagent: error: this would remove 2 entries of the trash permanently; use --yes to confirm\n",
    )
    ran = run("sessions", "trash", "--empty", "--yes", "--json")
    assert ran.json == {"removed": 2}
    assert run("sessions", "trash").out == ""
    with person("sessions", "trash") as terminal:
        terminal.wait()
    assert terminal.shown == "The trash is empty"


def test_purge_leaves_nothing(run, filled, db):
    """--purge removes for good: the trash holds nothing and the file no word of it."""
    assert run("sessions", "delete", "bob", "--purge", "--yes").err == (
        "Deleted the session 'bob' with 2 messages permanently\n"
    )
    assert run("sessions", "restore", "bob").code == 1
    filled.close()
    for file in db.parent.glob("sessions.db*"):
        assert b"Viktor" not in file.read_bytes()


def test_purge_names_the_backups(run, filled, db):
    """A copy made before still holds what was purged, and is told."""
    copy = db.parent / "copy.db"
    assert run("store", "backup", str(copy)).code == 0
    told = f"The purged text may still be in the backup {copy}\n"
    assert run("sessions", "delete", "bob", "--purge", "--yes").err.endswith(told)
    assert run("sessions", "delete", "alice", "--yes").code == 0
    assert run("sessions", "trash", "--empty", "--yes").err.endswith(told)


def test_no_trash_when_none_is_wanted(run, filled):
    """sessions.trash_ttl = 0 keeps nothing."""
    assert run("config", "set", "sessions.trash_ttl", "0").code == 0
    assert run("sessions", "delete", "alice", "-y").code == 0
    assert run("sessions", "trash").out == ""


def test_prune_removes_what_has_expired(run, store):
    """Prune removes expired sessions and says how many; --dry-run only counts."""
    talk(store, "keep", "x")
    talk(store, "gone", "x")
    store.set_ttl("gone", 60)
    CLOCK.now += timedelta(hours=1)
    assert run("sessions", "list", "--ids").lines == ["keep"]
    ran = run("sessions", "prune", "--dry-run", "--json")
    assert (ran.json, ran.err) == (
        {"expired": 1, "removed": 0},
        "Dry run: would remove 1 expired session\n",
    )
    assert run("sessions", "prune").err == "Removed 1 expired session\n"
    assert run("sessions", "prune").err == "Removed 0 expired sessions\n"


def test_an_expired_session_is_told_as_such(run, store):
    """What has expired is not just missing."""
    talk(store, "gone", "x")
    store.set_ttl("gone", 60)
    for words in (("show", "gone"), ("pin", "gone"), ("delete", "gone", "-y")):
        ran = run("sessions", *words)
        assert ran.code == 1
        assert ran.err.startswith("omniagent: error: the session 'gone' expired at 2026-11-01T09:")


def test_json_of_removals(run, filled):
    """--json prints what went."""
    ran = run("sessions", "clear", "alice", "--yes", "--json", "-q")
    assert (ran.json, ran.err) == ([{"id": "alice", "messages": 4}], "")


def test_reading_a_store_again(run, db):
    """A store of another program run sees what this one did."""
    with open_store(db, ttl=None) as store:
        talk(store, "x", "y")
    assert run("sessions", "delete", "x", "-y").code == 0
    with open_store(db, ttl=None) as store:
        assert not store.exists("x")
