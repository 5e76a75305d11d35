"""`omniagent keys`: kept, told where, and never shown."""

from __future__ import annotations

import json
import stat

import pytest

from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

KEY = "sk-verysecret-0123456789"


@pytest.fixture
def file(home):
    """Where the keys are kept without a keyring."""
    return home / ".config" / "omniagent" / "keys.json"


def test_a_key_from_a_pipe_is_kept_and_told_where(run, file):
    """What a password manager prints is kept in a private file, that is said, and the key is never shown."""
    ran = run("keys", "set", "OpenAI", stdin=f"{KEY}\n".encode())
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.startswith(
        f"Saved the key for OpenAI in {file}, unencrypted, readable only by you: "
    )
    assert json.loads(file.read_text()) == {"openai": KEY}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert run("keys").cells == [["openai", "file", str(file), "used"]]
    ran = run("keys", "list", "--json")
    assert ran.json == [{"provider": "openai", "where": "file", "place": str(file), "used": True}]
    assert KEY not in ran.out + ran.err
    removed = run("keys", "remove", "openai")
    assert (removed.code, removed.err) == (0, f"Removed the key for openai from {file}\n")
    assert run("keys", "list").out == ""


def test_a_key_is_typed_unseen(person_at_pty, file):
    """At a terminal the key is asked for and not echoed; Ctrl-C keeps nothing."""
    with person_at_pty("keys", "set", "groq") as terminal:
        terminal.wait_for("Key for Groq (hidden):")
        terminal.say(KEY)
        assert terminal.wait() == 0
        assert KEY not in terminal.shown
    assert json.loads(file.read_text()) == {"groq": KEY}
    with person_at_pty("keys", "set", "xai") as terminal:
        terminal.wait_for("Key for xAI")
        terminal.send("\x03")
        assert terminal.wait() == 130
    assert json.loads(file.read_text()) == {"groq": KEY}


def test_a_key_on_the_command_line_is_refused_and_not_repeated(run, file):
    """A key given as a word is not taken, not shown again, and said to be spoilt."""
    ran = run("keys", "set", "openai", KEY)
    assert ran.code == 2
    assert "not accepted on the command line" in ran.err
    assert KEY not in ran.out + ran.err
    assert not file.exists()


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (b"", "no key on stdin"),
        (b" \n", "no key on stdin"),
        (b"two words\n", "the key contains spaces"),
        (b"one\ntwo\n", "more than one line"),
        ("sk-\u201cx\u201d".encode(), "the key contains spaces or characters"),
        (b"sk-\x1b[31m", "the key contains spaces or characters"),
        (b"\xff\xfe", "the key contains spaces or characters"),
        (b"x" * 30_000, "too long for a key"),
    ],
)
def test_what_is_no_key_is_refused(run, file, typed, told):
    """What no header can carry is refused without being repeated."""
    ran = run("keys", "set", "openai", stdin=typed)
    assert ran.code == 2
    assert told in ran.err
    assert "\x1b" not in ran.err
    assert not file.exists()


def test_a_variable_wins_and_that_is_told(run, monkeypatch, file):
    """Which of several keys is used is listed; setting or removing one behind a variable says so."""
    monkeypatch.setenv("GOOGLE_API_KEY", "from-the-environment")
    ran = run("keys", "set", "google", stdin=KEY.encode())
    assert "GOOGLE_API_KEY is set and takes precedence" in ran.err
    assert run("keys", "list").cells == [
        ["gemini", "environment", "GOOGLE_API_KEY", "used"],
        ["gemini", "file", str(file), ""],
    ]
    ran = run("keys", "remove", "gemini")
    assert ran.code == 0
    assert "GOOGLE_API_KEY is set and still used; unset it in your shell" in ran.err
    ran = run("keys", "remove", "gemini")
    assert ran.code == 1
    assert "no key for gemini is saved: GOOGLE_API_KEY is set" in ran.err


def test_who_is_no_provider(run):
    """An unknown provider is refused with close matches; removing what is not there fails."""
    for verb in ("set", "remove"):
        ran = run("keys", verb, "opnai", stdin=KEY.encode())
        assert (ran.code, ran.err) == (
            2,
            "omniagent: error: unknown provider 'opnai'; did you mean openai?\n",
        )
    ran = run("keys", "remove", "openai")
    assert ran.code == 1
    assert "no key for openai is saved; run 'omniagent keys list'" in ran.err


def test_a_file_that_cannot_be_used(run, file):
    """Damage, a directory in its place, and a mode open to others are told, and nothing is overwritten."""
    file.parent.mkdir(parents=True)
    file.write_text("{")
    for verb in (("set", "openai"), ("list",), ("remove", "openai")):
        ran = run("keys", *verb, stdin=KEY.encode())
        assert ran.code == 2
        assert f"the key file {file} is damaged" in ran.err
    assert file.read_text() == "{"
    file.write_text(json.dumps({"my-own": KEY}))
    file.chmod(0o644)
    ran = run("keys", "list")
    assert f"other users of this machine can read {file}; run: chmod 600" in ran.err
    assert ran.cells == [["my-own", "file", str(file), "used"]]
    assert run("keys", "remove", "my-own").code == 0
    file.unlink()
    file.mkdir()
    ran = run("keys", "set", "openai", stdin=KEY.encode())
    assert (ran.code, "cannot be read" in ran.err) == (2, True)


def test_a_kept_key_is_used(run, chat_server, monkeypatch):
    """A key that was set is the one a question is asked with; a refused one says how to set another."""
    server = chat_server()
    run("keys", "set", "openai", stdin=KEY.encode())
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    assert run("ask", "-m", "openai:fake-1", "hi").out == "You said: hi\n"
    assert server.requests[-1].headers["authorization"] == f"Bearer {KEY}"
