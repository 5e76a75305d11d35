"""The options every command takes, and where settings come from."""

from __future__ import annotations

import json

import pytest

from omniagent_cli.stores import open_store
from tests.cli.scene import talk


@pytest.mark.parametrize(
    "words",
    [
        ["--store", "{}", "sessions", "list", "--ids"],
        ["sessions", "--store", "{}", "list", "--ids"],
        ["sessions", "list", "--ids", "--store={}"],
        ["sessions", "list", "--db", "{}", "--ids"],
        ["--store", "/nowhere/at/all", "sessions", "list", "--ids", "--store", "{}"],
    ],
    ids=["before", "between", "after", "db", "the last wins"],
)
def test_the_store_is_named_before_and_after_the_command(run, tmp_path, words):
    """--store and --db mean the same wherever they stand."""
    path = tmp_path / "other.db"
    with open_store(path, ttl=None) as store:
        talk(store, "here", "hello")
    ran = run(*(word.format(path) for word in words), store=None)
    assert (ran.code, ran.out, ran.err) == (0, "here\n", "")


def test_json_is_asked_for_before_and_after(run, filled):
    """--json means the same wherever it stands."""
    before, after = run("--json", "sessions", "list"), run("sessions", "list", "--json")
    assert before.out == after.out
    assert [row["id"] for row in before.json] == ["carol", "bob", "alice"]


def test_json_of_a_command_without_data_is_refused(run, filled):
    """--json is not taken and forgotten where there is nothing to print."""
    ran = run("--json", "sessions", "pin", "alice")
    assert (ran.code, ran.out) == (2, "")
    assert (
        ran.err == "omniagent: error: 'omniagent sessions pin' has no JSON output; remove --json\n"
    )
    assert not filled.summary("alice").pinned
    assert run("sessions", "pin", "alice", "--json").code == 2


def test_quiet_says_nothing_but_errors(run, filled):
    """-q leaves out the talk and keeps errors and data."""
    assert run("sessions", "pin", "alice").err == "'alice' is pinned\n"
    assert run("sessions", "unpin", "alice", "-q").err == ""
    assert run("-q", "sessions", "pin", "nobody").err.startswith("omniagent: error: ")


def test_errors_leave_stdout_empty_with_json(run, filled):
    """With --json an error prints no half document."""
    ran = run("sessions", "show", "nobody", "--json")
    assert (ran.code, ran.out) == (1, "")


def test_a_configuration_file_is_named(run, tmp_path, db):
    """--config names the file to read, and one that is not there is exit 2."""
    file = tmp_path / "mine.toml"
    file.write_text("[window]\nmax_messages = 7\n")
    assert run("config", "get", "window.max_messages", "--config", str(file)).out == "7\n"
    ran = run("--config", str(tmp_path / "none.toml"), "sessions", "list")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        f"omniagent: error: --config names {tmp_path}/none.toml, which does not exist; create it or choose another\n"
    )


def test_a_bad_setting_is_told_with_its_place(run, home, filled):
    """A wrong value in the file is exit 2 and names key, value, place and what would be right."""
    file = home / ".config/omniagent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text('[display]\ncolor = "pink"\n')
    ran = run("sessions", "list")
    assert ran.code == 2
    assert ran.err == (
        f"omniagent: error: invalid display.color 'pink' ({file}:2): must be auto, always or never\n"
    )
    assert run("config", "set", "display.color", "never").code == 0
    assert run("sessions", "list").code == 0


def test_an_untrusted_project_file_is_told_once(run, tmp_path):
    """What a stranger's project file may not set is ignored with one line on stderr."""
    (tmp_path / ".omniagent.toml").write_text('[store]\nurl = "/tmp/elsewhere.db"\n')
    ran = run("sessions", "list", store=None)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        f"omniagent: warning: {tmp_path}/.omniagent.toml is not trusted, so it does not set store.url; "
        "run 'omniagent config trust' to allow it\n"
    )


def test_a_named_store(run, tmp_path, filled, db):
    """--store @NAME opens a store of the settings, and an unknown name lists those there are."""
    assert run("config", "set", "stores.work.url", str(db)).code == 0
    assert run("--store", "@work", "sessions", "list", "--ids", store=None).lines[0] == "carol"
    ran = run("--store", "@wrok", "sessions", "list", store=None)
    assert (ran.code, ran.err) == (
        2,
        "omniagent: error: unknown store @wrok (--store); did you mean @work?\n",
    )


def test_a_store_that_would_have_to_be_encrypted_is_refused(run, filled):
    """Where encryption was asked for, nothing is read or written in the clear."""
    assert run("config", "set", "store.encrypt", "true").code == 0
    ran = run("sessions", "meta", "set", "alice", "a", "1")
    assert ran.code == 2
    assert "store.encrypt is set, but no key is configured" in ran.err
    assert filled.header("alice").metadata == {}


def test_a_password_is_never_printed(run):
    """A URL's password is in no message."""
    ran = run("--store", "redis://user:hunter2@localhost/0", "sessions", "list")
    assert ran.code != 0
    assert "hunter2" not in ran.err + ran.out


def test_the_default_store_is_empty_until_something_is_said(run, home):
    """Reading a default store that is not there yet shows nothing, makes nothing, and is no error."""
    assert run("sessions", "list", store=None) == run("sessions", "trash", store=None)
    assert json.loads(run("sessions", "list", "--json", store=None).out) == []
    assert list(home.rglob("*.db")) == []
    assert run("sessions", "meta", "set", "a", "k", "1", store=None).code == 0
    made = home / ".local/share/omniagent/sessions.db"
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.parent.stat().st_mode & 0o777 == 0o700
