"""`omniagent store` and `config`."""

from __future__ import annotations

import json
import sqlite3
import sys

import pytest

from omniagent_cli.stores import open_store
from tests.cli.scene import talk


def test_info(run, filled, db):
    """Info tells what the store is and holds."""
    facts = dict(run("store", "info").cells)
    assert (facts["backend"], facts["url"], facts["sessions"]) == ("sqlite", f"sqlite://{db}", "3")
    assert run("store", "info", "--json").json["messages"] == 7


def test_backup_is_a_store(run, filled, tmp_path, db):
    """Backup copies everything to a private file; one that is there is replaced only with consent."""
    copy = tmp_path / "copy.db"
    ran = run("store", "backup", str(copy))
    assert (ran.code, ran.out, ran.err) == (0, "", f"Copied sqlite://{db} to {copy}\n")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert run("sessions", "list", "--ids", store=copy).lines == ["carol", "bob", "alice"]
    ran = run("store", "backup", str(copy))
    assert (ran.code, ran.err) == (
        1,
        f"omniagent: error: this would replace {copy}; use --yes to confirm\n",
    )
    assert run("store", "backup", str(copy), "-y").code == 0
    ran = run("store", "backup", str(db), "-y")
    assert (ran.code, ran.err) == (
        2,
        f"omniagent: error: {db} is the store itself; choose another file\n",
    )
    assert run("store", "backup", str(tmp_path)).code != 0
    ran = run("store", "backup", str(tmp_path / "missing" / "copy.db"))
    assert (ran.code, ran.err) == (
        2,
        f"omniagent: error: no directory {tmp_path}/missing; create it or choose another file\n",
    )
    assert not (tmp_path / "missing").exists()


def test_compact(run, filled, db):
    """Compact says what it gained, and a store that cannot be compacted says so."""
    assert "Compacted: " in run("store", "compact").err
    ran = run("store", "compact", store=None)
    assert (ran.code, ran.err) == (0, "Nothing to compact\n")
    ran = run("store", "compact", store="memory:")
    assert (ran.code, ran.err) == (
        1,
        "omniagent: error: a store of kind 'memory' cannot be compacted\n",
    )


def test_check_finds_and_mends(run, filled, db):
    """Check is exit 1 while damage remains, and 0 for a sound store."""
    assert run("store", "check") == type(run("store", "check"))(0, "", "No damage found\n")
    filled.close()
    with sqlite3.connect(db) as connection:
        connection.execute(
            "UPDATE messages SET payload = x'00ff' WHERE position = 1"
            " AND session = (SELECT key FROM sessions WHERE id = 'alice')"
        )
    connection.close()
    ran = run("store", "check")
    assert ran.code == 1
    assert [row[:2] for row in ran.cells] == [["alice", "found"]]
    found = run("store", "check", "--json").json
    assert (found[0]["session"], found[0]["repaired"]) == ("alice", False)
    ran = run("store", "check", "--repair")
    assert "Backup of the store before the repair: " in ran.err
    assert run("store", "check").code == ran.code


def test_settings_are_listed(run):
    """List shows every setting with its value and origin."""
    ran = run("config", "list", store=None)
    assert ["window.max_messages", "100", "default"] in ran.cells
    assert run("config", "list", "--changed", store=None).out == ""
    assert run("config", "list", "--json").json["window.max_messages"] == {
        "value": 100,
        "from": "default",
    }


def test_set_get_unset(run, home):
    """Set keeps what a person wrote in the file, get reads, unset takes away."""
    file = home / ".config/omniagent/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n[window]\nmax_messages = 50 # enough\n")
    assert run("config", "path").out == f"{file}\n"
    assert run("config", "set", "window.max_messages", "60").code == 0
    assert file.read_text() == "# mine\n[window]\nmax_messages = 60 # enough\n"
    assert run("config", "get", "window.max_messages").out == "60\n"
    assert run("config", "get", "window.max_messages", "--json").out == "60\n"
    assert run("config", "get", "window").cells == [
        ["window.max_messages", "60", f"{file}:3"], ["window.max_tokens", "", "default"],
        ["window.compact_at", "", "default"],
    ]  # fmt: skip
    assert run("config", "unset", "window.max_messages").code == 0
    assert run("config", "get", "window.max_messages").out == "100\n"
    assert (
        run("config", "unset", "window.max_messages").err
        == f"window.max_messages was not set in {file}\n"
    )


def test_numbers_below_zero_are_values(run, home):
    """A value such as -1 is no option, wherever options stand; other words that begin with a dash are told."""
    assert run("config", "set", "agent.seed", "-5", "-v").code == 0
    assert run("config", "get", "agent.seed").out == "-5\n"
    assert run("config", "set", "window.max_messages", "-1").err == (
        "omniagent: error: invalid window.max_messages -1 (argument): must be a whole number of at least 1\n"
    )
    assert run("sessions", "meta", "set", "a", "k", "-1.5", "--string").code == 0
    assert run("sessions", "meta", "get", "a", "k", "--json").json == "-1.5"
    assert "not an option of" in run("sessions", "meta", "set", "a", "k", "1", "--strng").err


def test_a_store_of_no_known_kind_is_told_with_its_place(run, home):
    """A wrong store URL in a file or a variable names the file or the variable."""
    assert run("sessions", "list", store="mongo://h/x").err.startswith(
        "omniagent: error: variable OMNIAGENT_STORE: unknown store scheme 'mongo' in mongo://h/x; "
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("get", "window.max_mesages"), "unknown setting window.max_mesages; did you mean window.max_messages?"),
        (("set", "window.max_mesages", "1"), "unknown setting window.max_mesages; did you mean window.max_messages?"),
        (("set", "window.max_messages", "0"), "invalid window.max_messages 0 (argument): must be a whole number of at least 1"),
        (("set", "sessions.ttl", "soon"), "invalid sessions.ttl 'soon' (argument): must be a duration such as 30m, 24h, 7d, 1h30m or never"),
    ],
)  # fmt: skip
def test_wrong_settings(run, words, told):
    """Wrong names and values are exit 2, with what would be right."""
    ran = run("config", *words)
    assert (ran.code, ran.out, ran.err) == (2, "", f"omniagent: error: {told}\n")


def test_edit_and_trust_need_a_person(run, tmp_path, person, home):
    """An editor and trust need a terminal; there they work, and a mistake made in the editor is told."""
    project = tmp_path / ".omniagent.toml"
    project.write_text('[agent]\nsystem_prompt = "Be \\u001b[31m brief"\n')
    for verb in ("edit", "trust"):
        assert run("config", verb).code == 1
    with person("config", "trust", columns=250) as terminal:
        terminal.wait_for("[y/N]")
        terminal.say("n")
        assert terminal.wait() == 1
        assert terminal.shown.endswith("[y/N] n\nAborted.")
    with person("config", "trust", columns=250) as terminal:
        terminal.wait_for("with these settings? [y/N]")
        assert "system_prompt" in terminal.shown
        terminal.say("y")
        assert terminal.wait() == 0
    assert run("config", "get", "agent.system_prompt").out == "Be \x1b[31m brief\n"
    editor = tmp_path / "editor.py"
    editor.write_text("import sys; open(sys.argv[1], 'w').write('[window]\\nmax_messages = -1\\n')")
    with person("config", "edit", columns=250, VISUAL=f"{sys.executable} {editor}") as terminal:
        assert terminal.wait() == 2
    assert "invalid window.max_messages -1" in terminal.shown


def test_export_and_import_through_a_pipe(run, filled, tmp_path):
    """What one store exports another imports, equal, and importing again changes nothing."""
    filled.set_metadata("alice", "k", {"a": [None]})
    exported = run("sessions", "export", "--all")
    assert (exported.code, exported.err) == (0, "")
    other = tmp_path / "other.db"
    ran = run("sessions", "import", "-", stdin=exported.out.encode(), store=other)
    assert (ran.code, ran.out, ran.err) == (0, "", "Imported 3 sessions (7 messages)\n")
    again = run("sessions", "import", "-", stdin=exported.out.encode(), store=other)
    assert (again.code, again.err) == (0, "Skipped 3 sessions\n")
    with open_store(other, ttl=None) as there:
        for name in ("alice", "bob", "carol"):
            ours, theirs = filled.get(name).to_record(), there.get(name).to_record()
            assert {**theirs, "uid": ""} == {**ours, "uid": ""}


def test_export_to_a_file(run, filled, tmp_path):
    """A file is private, takes its format from its ending, and appears whole or not at all."""
    file = tmp_path / "alice.md"
    ran = run("sessions", "export", "ali", "-o", str(file))
    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "My name is Alice" in file.read_text()
    assert json.loads(run("sessions", "export", "alice").out)["sessions"][0]["id"] == "alice"
    ran = run("sessions", "export", "alice", "-o", str(tmp_path / "no/such.json"))
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert run("sessions", "export", "alice", "--format", "pdf").code == 2
    assert run("sessions", "export").code == 2
    assert run("sessions", "export", "alice", "--all").code == 2
    assert sorted(p.name for p in tmp_path.iterdir() if "sessions.db" not in p.name) == ["alice.md"]


def test_redaction_is_counted(run, store):
    """--redact masks what looks like a secret and counts on stderr."""
    talk(store, "s", "my key is sk-proj-abcdefghijklmnopqrstuvwx")
    ran = run("sessions", "export", "s", "--redact")
    assert "sk-proj" not in ran.out
    assert ran.err.startswith("Masked: openai-key ")


def test_bad_imports_are_told(run, filled, tmp_path):
    """Files that cannot be read or are none of ours are told with their place, exit 1."""
    bad = tmp_path / "bad.jsonl"
    bad.write_text("this is no export\n")
    for name in (bad, tmp_path / "none.jsonl", tmp_path):
        ran = run("sessions", "import", str(name))
        assert (ran.code, ran.out) == (1, "")
        assert str(name) in ran.err
    ran = run("sessions", "import", str(bad), "--json")
    assert ran.json[0]["problems"][0]["place"] == str(bad)
    assert run("sessions", "import", str(bad), "--format", "pdf").code == 2
    assert run("sessions", "import", str(bad), "--on-conflict", "pray").code == 2
    assert run("sessions", "import", str(bad), str(bad), "--as", "x").code == 2
    assert filled.count() == 3


def test_an_import_that_conflicts_is_refused(run, filled, tmp_path):
    """A session that differs is refused by name, exit 1, unless a rule says what to do."""
    exported = run("sessions", "export", "bob", "--format", "jsonl").out.encode()
    changed = exported.replace(b"Viktor", b"Victor")
    ran = run("sessions", "import", "-", stdin=changed)
    assert (ran.code, ran.err.count("omniagent: warning: 'bob' refused: ")) == (1, 1)
    ran = run("sessions", "import", "-", "--on-conflict", "replace", stdin=changed)
    assert ran.code == 0
    assert filled.messages("bob")[1].text == "jagen Victor"
    assert run("sessions", "restore", "--as", "bob-before").code == 0
    ran = run("sessions", "import", "-", "--as", "copy", "--dry-run", stdin=exported)
    assert ran.err == "Dry run: would have imported 1 session (2 messages)\n"
    assert not filled.exists("copy")
