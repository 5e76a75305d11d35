"""Homes, disks and settings that are broken: commands say one line, and TAB says nothing."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from omniagent_cli.complete import main as complete
from tests.cli.scene import environment, talk

COMMANDS = (
    "sessions list", "sessions show alice", "sessions search hello", "sessions stats", "sessions export --all", "sessions trash",
    "sessions pin alice", "sessions meta get alice", "sessions delete --all -y", "sessions prune", "store info", "store check",
    "models list --offline", "models use recall", "keys list", "keys remove openai", "tools list", "config list", "config get model",
    "config set model recall", "config unset model", "config path", "ask -q -m recall hello", "chat -m recall", "completion install fish",
    "doctor --offline", "help environment", "--version",
)  # fmt: skip
TYPED = (
    ("sessions", "show", ""), ("sessions", "meta", "get", "alice", ""), ("sessions", "list", "--tag", ""), ("sessions", "restore", ""),
    ("models", "use", ""), ("--store", "@work", "sessions", "show", ""), ("config", "get", ""),
)  # fmt: skip


def broken_settings(home, tmp_path, db, monkeypatch):
    write(home / ".config/omniagent/config.toml", "[store\nurl = 1")


def unknown_settings(home, tmp_path, db, monkeypatch):
    write(home / ".config/omniagent/config.toml", 'stroe.url = "x"\n')


def settings_are_a_directory(home, tmp_path, db, monkeypatch):
    (home / ".config/omniagent/config.toml").mkdir(parents=True)


def broken_project(home, tmp_path, db, monkeypatch):
    write(tmp_path / ".omniagent.toml", "\0[[[")


def home_is_below_a_file(home, tmp_path, db, monkeypatch):
    write(tmp_path / "file", "")
    monkeypatch.setenv("HOME", f"{tmp_path}/file/home")


def newer_store(home, tmp_path, db, monkeypatch):
    with closing(sqlite3.connect(db)) as connection:
        connection.execute("PRAGMA user_version = 99")


def damaged_store(home, tmp_path, db, monkeypatch):
    data = db.read_bytes()
    db.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def damaged_memory(home, tmp_path, db, monkeypatch):
    """Everything that omniagent notes for itself is rubbish."""
    for name in (".local/state/omniagent/recent.json", ".local/state/omniagent/trusted-projects.json",
                 ".cache/omniagent/stores", ".cache/omniagent/models", ".config/omniagent/keys.json"):  # fmt: skip
        write(home / name, "\udcff{[rubbish")


PLACES = (
    broken_settings, unknown_settings, settings_are_a_directory, broken_project, home_is_below_a_file, newer_store, damaged_store,
    damaged_memory,
)  # fmt: skip


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


@pytest.fixture
def place(request, home, tmp_path, db, store, monkeypatch):
    """Something that is broken, around a store with one session."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    talk(store, "alice", "hello")
    store.close()
    request.param(home, tmp_path, db, monkeypatch)


@pytest.mark.parametrize("place", PLACES, indirect=True, ids=lambda place: place.__name__)
def test_commands_say_one_line(run, place):
    """Whatever is broken, no command prints a traceback or more than a line of error beside a warning."""
    for line in COMMANDS:
        ran = run(*line.split())
        assert ran.code in (0, 1, 2, 3), (line, ran.err)
        assert "Traceback" not in ran.err
        told = [one for one in ran.err.splitlines() if one.startswith("omniagent: ")]
        errors = [one for one in told if one.startswith("omniagent: error: ")]
        assert len(errors) <= 1, (line, ran.err)
        assert len(told) <= 2, (line, ran.err)
        assert errors or ran.code == 0 or line.startswith(("doctor", "store check")), line


@pytest.mark.parametrize("place", PLACES, indirect=True, ids=lambda place: place.__name__)
def test_tab_is_silent(place, db, monkeypatch, capfd, tmp_path):
    """Whatever is broken, TAB says nothing about it, and answers what it still knows."""
    monkeypatch.setenv("OMNIAGENT_STORE", str(db))
    monkeypatch.chdir(tmp_path)
    for words in TYPED:
        assert complete(list(words)) == 0
    assert capfd.readouterr().err == ""
    assert complete(["sessions", "li"]) == 0
    assert capfd.readouterr().out.startswith("list\t")


def _with_a_full_disk(bytes_at_most):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_at_most, bytes_at_most))

    return limit


@pytest.mark.parametrize(
    "line",
    [
        "sessions meta set alice big value", "ask -q -m recall hello", "config set model recall", "keys set openai",
        "completion install fish", "completion install zsh", "sessions export --all -o out.jsonl", "store backup copy.db", "models use recall",
    ],
)  # fmt: skip
@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_is_one_line(filled, db, home, tmp_path, line, room):
    """Where nothing more can be written a command says so in one line, and what was there is whole."""
    filled.close()
    before = db.read_bytes()
    settings = home / ".config/omniagent/config.toml"
    write(settings, "# mine\n")
    done = subprocess.run(
        [sys.executable, "-B", "-m", "omniagent_cli", *line.split()],
        cwd=tmp_path, input=b"sk-key\n", capture_output=True, timeout=60, check=False,
        env=environment(db, HOME=str(home), OLLAMA_HOST="127.0.0.1:9", PYTHONPATH=os.getcwd()),  # noqa: PTH109
        preexec_fn=_with_a_full_disk(room),  # no threads here
    )  # fmt: skip
    told = done.stderr.decode()
    assert done.returncode in (1, 2, 3), told
    assert "Traceback" not in told
    assert told.count("omniagent: error: ") == 1
    assert settings.read_text() == "# mine\n"
    assert db.read_bytes() == before
    assert not (tmp_path / "out.jsonl").exists()


def test_tab_on_a_full_disk(filled, db, home):
    """Where nothing can be written TAB answers as ever."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "omniagent_cli", "__complete", "sessions", "show", ""],
        capture_output=True, timeout=60, check=False, env=environment(db, HOME=str(home)),
        preexec_fn=_with_a_full_disk(0),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.splitlines()[0].startswith(b"carol\t")
