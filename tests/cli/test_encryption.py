"""Encrypted stores on the command line: where the key comes from, and what happens without it."""

from __future__ import annotations

import sqlite3
from base64 import b64decode, b64encode
from contextlib import closing

import pytest

from omniagent_cli.stores import Passphrase, open_store, with_encryption
from tests.cli.scene import talk

KEY = bytes(range(32))


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    return path


@pytest.fixture
def encrypted(filled):
    """The three sessions of `filled`, encrypted."""
    filled.encrypt(KEY)
    filled.close()


def texts(ran):
    return [cells[4] for cells in ran.cells if len(cells) > 4]


def test_encrypt_with_a_new_key(run, filled, db, tmp_path, home):
    """Encrypt makes a key, warns, encrypts, says what to set, and sets nothing; set so, everything is as before."""
    shown = run("sessions", "show", "alice").out
    key = tmp_path / "new.key"
    ran = run("store", "encrypt", "--generate-key", str(key))
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == (
        "omniagent: warning: without the key these conversations cannot be read;"
        " keep a copy of it in another place\n"
        f"Encrypted: 3 sessions (7 messages) of {db}\n"
        f"To use it from now on: omniagent config set store.key_file {key}\n"
    )
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(b64decode(key.read_bytes())) == 32
    assert not (home / ".config").exists()
    assert run("sessions", "show", "alice").code == 1
    run("config", "set", "store.key_file", str(key))
    assert run("sessions", "show", "alice").out == shown
    assert run("store", "info", "--json").json["encryption"] == "encrypted"
    assert run("store", "encrypt").err.count("\n") == 2, "what is set is not asked for again"


def test_a_key_file_is_never_overwritten(run, filled, key_file):
    """A file that is there is left alone, and nothing is encrypted with a key nobody has."""
    ran = run("store", "encrypt", "--generate-key", str(key_file))
    assert (ran.code, "already exists" in ran.err) == (2, True)
    assert key_file.read_text() == KEY.hex() + "\n"
    assert filled.encryption() is None
    ran = run("store", "encrypt", "--generate-key", "x", "--key-file", str(key_file))
    assert (ran.code, "cannot be used together" in ran.err) == (2, True)


def test_without_the_key(run, encrypted, db):
    """Without the key ids and counts are listed, and all that needs content is exit 1 and says how to give it."""
    assert run("sessions", "list", "--ids").lines == ["carol", "bob", "alice"]
    assert [s["message_count"] for s in run("sessions", "list", "--json").json] == [1, 2, 4]
    assert run("store", "info").code == 0
    assert run("store", "check").code == 0
    for words in (
        ("sessions", "show", "alice"),
        ("sessions", "search", "alice"),
        ("sessions", "list", "--tag", "work"),
        ("sessions", "export", "alice"),
        ("sessions", "meta", "set", "alice", "k", "v"),
        ("ask", "-m", "recall", "-s", "alice", "hello"),
    ):
        ran = run(*words)
        assert (ran.code, ran.out) == (1, ""), words
        assert "OMNIAGENT_ENCRYPTION_KEY[_FILE]" in ran.err
        assert ran.err.count("\n") == 1


@pytest.mark.parametrize("how", ["hex", "base64", "file", "binary", "setting", "passphrase"])
def test_where_the_key_comes_from(run, filled, how, tmp_path, monkeypatch, key_file):
    """A key is taken from the variable, as hex or base64, from a file, as text or bytes, or from the settings."""
    filled.encrypt(Passphrase("my words, mine alone") if how == "passphrase" else KEY)
    if how == "hex":
        monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", KEY.hex())
    elif how == "base64":
        monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", b64encode(KEY).decode())
    elif how == "passphrase":
        monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", "my words, mine alone")
    elif how == "setting":
        run("config", "set", "store.key_file", str(key_file))
    else:
        if how == "binary":
            key_file.write_bytes(KEY)
        monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(key_file))
    ran = run("sessions", "show", "alice")
    assert texts(ran) == ["My name is Alice", "Hello Alice", "What is my name?", "Alice"]


def test_key_from_the_keyring(run, encrypted, monkeypatch, tmp_path):
    """`keyring:NAME` is the key of that name in the system keyring."""
    module = tmp_path / "keyring.py"
    module.write_text(
        "def get_password(service, name):\n"
        f"    return {KEY.hex()!r} if (service, name) == ('omniagent', 'sessions') else None\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    run("config", "set", "store.key_file", "keyring:sessions")
    assert run("sessions", "show", "bob").code == 0
    run("config", "set", "store.key_file", "keyring:other")
    ran = run("sessions", "show", "bob")
    assert (ran.code, "no key 'other'" in ran.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "cannot read"), (b"", "is empty"), (b"\xff" * 17, "does not contain a key")],
)
def test_wrong_key_files(run, encrypted, key_file, monkeypatch, text, told):
    """A key file that is not there, or holds no key, is exit 2."""
    key_file.unlink() if text is None else key_file.write_bytes(text)
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(key_file))
    ran = run("sessions", "show", "alice")
    assert (ran.code, ran.out, told in ran.err) == (2, "", True), ran.err


def test_wrong_key(run, encrypted, monkeypatch):
    """Another key is exit 1, and nothing is written."""
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", "00" * 32)
    ran = run("sessions", "show", "alice")
    assert (ran.code, "'alice'" in ran.err, "another key" in ran.err) == (1, True, True)
    assert run("sessions", "title", "alice", "x").code == 1
    assert run("store", "rekey", "--generate-key", "other.key").code == 1


def test_encrypt_is_set_and_there_is_no_key(run, filled, monkeypatch, db):
    """`store.encrypt` without a key is exit 2 in one line; on a plain store it says to encrypt it."""
    run("config", "set", "store.encrypt", "true")
    ran = run("sessions", "list")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(
        "omniagent: error: store.encrypt is set, but no key is configured; set "
    )
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", KEY.hex())
    assert run("sessions", "list").code == 0
    ran = run("sessions", "title", "alice", "x")
    assert (ran.code, "store encrypt" in ran.err) == (1, True)


def test_a_key_encrypts_a_new_store(run, db, monkeypatch, key_file, tmp_path):
    """With a key, every way to create a store encrypts it from its first byte, and reports it once."""
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(key_file))
    note = f"is encrypted with the key in {key_file}. Without this key its sessions cannot be read."
    record = b'{"messages":[{"role":"user","content":"quokka"}]}\n'
    with open_store(tmp_path / "plain.db") as plain:
        talk(plain, "s", "quokka")
    ways = {
        "ask": lambda to: run("ask", "-m", "recall", "-s", "s", "quokka", store=to),
        "chat": lambda to: run("chat", "-m", "recall", "-s", "s", stdin=b"quokka\n", store=to),
        "import": lambda to: run("sessions", "import", "-", "--as", "s", stdin=record, store=to),
        "meta": lambda to: run("sessions", "meta", "set", "s", "k", "quokka", store=to),
        "migrate": lambda to: run("store", "migrate", str(tmp_path / "plain.db"), str(to)),
    }
    for name, way in ways.items():
        target = tmp_path / f"{name}.db"
        ran = way(target)
        assert (name, ran.code, ran.err.count(note)) == (name, 0, 1), ran.err
        again = run("ask", "-m", "recall", "-s", "s", "again", store=target)
        assert (name, again.code, note in again.err) == (name, 0, False)
        for file in tmp_path.glob(f"{name}.db*"):
            assert b"quokka" not in file.read_bytes()


def test_a_key_and_a_plain_store(run, filled, monkeypatch, key_file, tmp_path, db):
    """A plain store with sessions is read with a key, and refused in one line where it would be written."""
    filled.close()
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(key_file))
    before = run("sessions", "export", "--all").out
    command = f"omniagent --store sqlite://{db} store encrypt\n"
    with open_store(tmp_path / "other.db") as other:
        talk(other, "new", "hello")
    run("config", "set", "stores.work.url", str(db))
    for words in (
        ("ask", "-m", "recall", "hello"),
        ("ask", "-m", "recall", "-s", "alice", "hello"),
        ("chat", "-m", "recall"),
        ("sessions", "import", str(tmp_path / "lines.jsonl")),
        ("sessions", "meta", "set", "alice", "k", "v"),
        ("sessions", "delete", "alice", "--yes"),
        ("store", "migrate", str(tmp_path / "other.db"), str(db)),
        ("--store", "@work", "sessions", "title", "alice", "x"),
        ("mcp", "--allow-write"),
    ):
        (tmp_path / "lines.jsonl").write_text('{"messages":[{"role":"user","content":"hi"}]}\n')
        ran = run(*words, stdin=b"hello\n")
        assert (words, ran.code, ran.out) == (words, 1, ""), ran.err
        assert ran.err.endswith(command), (words, ran.err)
    assert texts(run("sessions", "show", "alice"))[0] == "My name is Alice"
    assert run("sessions", "search", "alice").code == 0
    assert run("sessions", "export", "--all").out == before
    run("config", "set", "store.encrypt", "false")
    assert run("sessions", "title", "alice", "x").code == 0
    assert run("ask", "-m", "recall", "-s", "n", "hi", store=tmp_path / "plain.db").code == 0
    with open_store(tmp_path / "plain.db") as plain:
        assert plain.messages("n")[0].text == "hi"
    run("config", "unset", "store.encrypt")
    assert run("store", "encrypt").code == 0
    assert run("sessions", "title", "alice", "y").code == 0


def test_compress(run, db, monkeypatch):
    """`store.compress` compresses what is stored, alone and under encryption."""
    monkeypatch.setenv("OMNIAGENT_STORE_COMPRESS", "true")
    assert run("ask", "-q", "-m", "recall", "-s", "s", "quokka " * 100).code == 0
    with closing(sqlite3.connect(db)) as connection:
        ((payload,),) = connection.execute("SELECT payload FROM messages WHERE position = 0")
    assert payload[:1] == b"\x01"
    assert len(payload) < 100
    assert run("store", "info", "--json").json["compressed"] is True


def test_rekey(run, encrypted, monkeypatch, key_file, tmp_path, db):
    """Rekey changes the key; the old one opens nothing any more."""
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(key_file))
    new = tmp_path / "new"
    new.write_text("a passphrase this time")
    ran = run("store", "rekey", "--new-key-file", str(new))
    assert ran.code == 0
    assert f"Encrypted with the new key: 3 sessions (7 messages) of {db}\n" in ran.err
    assert f"store.key_file {new}" in ran.err
    assert run("sessions", "show", "alice").code == 1
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(new))
    assert run("sessions", "show", "alice").code == 0


def test_rekey_goes_on(run, filled, monkeypatch, key_file, tmp_path):
    """A change that was interrupted goes on with the same command, the old key still in the settings."""
    filled.encrypt(KEY)
    new = tmp_path / "new"
    new.write_text("00" * 16)

    def stop(_count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled.rekey(bytes(16), stop)
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(key_file))
    ran = run("sessions", "title", "alice", "x")
    assert (ran.code, "`omniagent store rekey`" in ran.err) == (1, True)
    assert run("store", "rekey", "--generate-key", "third").code == 2
    assert run("store", "rekey", "--new-key-file", str(new)).code == 0
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(new))
    assert run("sessions", "show", "alice").code == 0


def test_nobody_to_ask(run, filled):
    """Without a key and without a terminal the commands say what to give."""
    ran = run("store", "encrypt")
    assert (ran.code, "--key-file FILE, or --generate-key FILE" in ran.err) == (2, True)
    ran = run("store", "rekey")
    assert (ran.code, "is not encrypted" in ran.err) == (2, True)


def test_a_person_is_asked(filled, person_at_pty, db):
    """On a terminal a passphrase is typed twice, unseen; two that differ encrypt nothing; only what needs content asks for it."""
    with person_at_pty("store", "encrypt") as program:
        program.wait_for("New passphrase:")
        program.say("tulip")
        program.wait_for("Repeat the passphrase:")
        program.say("tulp")
        assert program.wait() == 2
        assert "nothing was changed" in program.shown
    assert filled.encryption() is None
    filled.close()
    with person_at_pty("store", "encrypt") as program:
        program.wait_for("New passphrase:")
        program.say("tulip")
        program.wait_for("Repeat the passphrase:")
        program.say("tulip")
        assert program.wait() == 0
        assert "tulip" not in program.shown
        assert "Encrypted: 3 sessions" in program.shown
    with person_at_pty("sessions", "list") as program:
        assert program.wait() == 0
        assert "alice" in program.shown
        assert "passphrase" not in program.shown
    with person_at_pty("sessions", "show", "alice") as program:
        program.wait_for("Key or passphrase of")
        program.say("rose")
        program.wait_for("Wrong key or passphrase")
        program.wait_for("Key or passphrase of", count=2)
        program.say("tulip")
        assert program.wait() == 0
        assert "My name is Alice" in program.shown
    with person_at_pty("ask", "-m", "recall", "-s", "alice", "What is my name?") as program:
        program.wait_for("Key or passphrase of")
        program.say("tulip")
        assert program.wait() == 0
        assert "My name is Alice" in program.shown
    with with_encryption(open_store(db), Passphrase("tulip")) as store:
        assert store.count_messages("alice") == 6


def test_search_says_that_it_read_everything(run, encrypted, monkeypatch):
    """Search on an encrypted store finds the same, and with -v says that it read every message."""
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", KEY.hex())
    ran = run("sessions", "search", "alice", "-v")
    assert [cells[0] for cells in ran.cells] == ["alice", "alice", "alice"]
    assert ran.err == "read 7 messages: encrypted stores have no search index\n"
    assert run("sessions", "search", "alice").err == ""


def test_completion_shows_no_titles(store, run, process, db, monkeypatch):
    """TAB completes the ids of an encrypted store, and its titles are nowhere, not even in the cache."""
    talk(store, "alice", "quokka")
    store.encrypt(KEY)
    store.close()
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY", KEY.hex())
    assert "quokka" in run("sessions", "list").out
    done = process("__complete", "sessions", "show", "", OMNIAGENT_ENCRYPTION_KEY=KEY.hex())
    assert b"quokka" not in done.stdout


def test_traces_outside_of_the_store_are_named(run, filled, home, tmp_path, key_file):
    """Backups and the lines typed in chats, which are not in the store, are named."""
    run("store", "backup", str(tmp_path / "copy.db"))
    history = home / ".local/state/omniagent/history"
    history.parent.mkdir(parents=True, exist_ok=True)
    history.write_text("+quokka\n")
    ran = run("store", "encrypt", "--key-file", str(key_file))
    assert f"the backup {tmp_path / 'copy.db'} can still be read" in ran.err
    assert f"{history} still contains lines typed in chats" in ran.err
