"""Every example of the help works as it stands, and every JSON document is what `help json` says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from omniagent_cli import Message
from omniagent_cli.cli.framework.command_table import COMMANDS, Row, commands_below
from omniagent_cli.cli.reference.json_shapes import SHAPES, schema_of
from omniagent_cli.stores import open_store
from tests.cli.prepared import KEY, make_stores, prepare
from tests.repl.piped import PipedProgram
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

EXAMPLES = [
    example
    for _, row in commands_below(COMMANDS)
    if isinstance(row, Row)
    for example in row.examples
]
# What asks a person first, or needs one; the person says yes.
ASKING = re.compile(
    r"sessions (trim|clear) (?!.*--yes)|(config|prompts) (edit|trust)|keys set anthropic$"
)
OF_SHELL = re.compile(r"[|<>$]|^(?!omniagent)")


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The stores that each test has a copy of."""
    place = tmp_path_factory.mktemp("stores")
    make_stores(place)
    return place


@pytest.fixture
def sandbox(home, tmp_path, chat_server, monkeypatch, stores):
    """The prepared home, with the variables that lead to it."""
    for name, value in {
        "OPENAI_BASE_URL": chat_server(models=["gpt-6.1-sol", "gpt-6-luna"]).url,
        "OLLAMA_HOST": "127.0.0.1:9",
        "SHELL": "/bin/bash",
        "PATH": f"{home}/bin:{Path(sys.executable).parent}:/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        "PAGER": "cat",
        "EDITOR": "nano",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("PYTHONPATH", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    prepare(home, tmp_path, stores)
    return home


def _words(line, home):
    words = shlex.split(line)[1:]
    return [f"{home}{word[1:]}" if word.startswith("~/") else word for word in words]


def _encrypted(run, home, monkeypatch):
    """Encrypt the store, for commands that need one that is."""
    assert run("store", "encrypt", "--key-file", str(home / "my.key"), store=None).code == 0
    monkeypatch.setenv("OMNIAGENT_ENCRYPTION_KEY_FILE", str(home / "my.key"))


def test_there_are_two_for_each_command():
    """Each command has two examples, and none stands twice."""
    assert len(EXAMPLES) == len(set(EXAMPLES)) > 100


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_work(sandbox, run, tmp_path, monkeypatch, example):
    """What the help shows can be typed as it stands, and does something."""
    if "rekey" in example:
        _encrypted(run, sandbox, monkeypatch)
    shell = ["bash", "-o", "pipefail", "-c", example]
    if ASKING.search(example):
        monkeypatch.chdir(tmp_path)
        before, _, line = example.rpartition("omniagent ")
        environ = {**os.environ, **dict(pair.split("=") for pair in before.split())}
        words = _words(f"omniagent {line}", sandbox)
        with PipedProgram(words, environ, columns=300, cwd=tmp_path) as terminal:
            if "edit" not in example:
                terminal.wait_for("[y/N]")
                terminal.say("y")
            assert terminal.wait() == 0, terminal.shown
        return
    if OF_SHELL.search(example):
        done = subprocess.run(
            shell, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        code, told = done.returncode, done.stdout + done.stderr
    else:
        ran = run(*_words(example, sandbox), store=None)
        code, told = ran.code, ran.out + ran.err
    assert code == 0, told
    assert "omniagent: error" not in told
    assert KEY not in told


SCHEMA = '{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}'
# Command -> lines that between them print every form it has.
DOCUMENTS = {
    "ask": ["ask hello", "ask --extract hello", f"ask --schema '{SCHEMA}' hello"],
    "doctor": ["doctor --offline"],
    "sessions list": ["sessions list", "sessions list --ids", "sessions list --tag none"],
    "sessions show": ["sessions show user-123", "sessions show user-123 --last 1"],
    "sessions search": ["sessions search invoice", "sessions search invoice --ids"],
    "sessions compact": ["sessions compact user-123"],
    "sessions trim": ["sessions trim user-123 --keep 2 -y", "sessions trim notes --keep 1 --dry-run"],
    "sessions clear": ["sessions clear user-123 -y"],
    "sessions delete": ["sessions delete notes -y"],
    "sessions restore": ["sessions restore user-123"],
    "sessions trash": ["sessions trash", "sessions trash --empty -y"],
    "sessions fork": ["sessions fork user-123"],
    "sessions tree": ["sessions tree"],
    "sessions tag": ["sessions tag user-123", "sessions tag --stdin +new"],
    "sessions meta get": ["sessions meta get user-123", "sessions meta get user-123 project"],
    "sessions state get": ["sessions state get user-123", "sessions state get user-123 step"],
    "sessions import": ["sessions import chats.jsonl", "sessions import --discover"],
    "sessions stats": ["sessions stats"],
    "sessions prune": ["sessions prune"],
    "store info": ["store info", "--store file:. store info", "--store memory: store info"],
    "store check": ["store check"],
    "store sync": ["store sync @work"],
    "store migrate": ["store migrate sessions.db @work"],
    "models list": ["models list", "models list --offline"],
    "prompts list": ["prompts list"],
    "prompts show": ["prompts show review"],
    "keys list": ["keys list"],
    "tools list": ["tools list"],
    "config list": ["config list", "config list --changed"],
    "config get": ["config get window", "config get window.max_messages", "config get prices"],
}  # fmt: skip
MAY_FAIL = ("--extract", "--schema")  # the answer of the test's model has neither


def test_every_document_is_looked_at():
    """Each command that prints JSON is run below."""
    assert set(DOCUMENTS) == set(SHAPES)


def _strict(schema):
    """Return a schema that takes no key that is not written down."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in made and "additionalProperties" not in made else made  # fmt: skip


@pytest.mark.parametrize("command", DOCUMENTS)
def test_documents_are_as_written(sandbox, run, home, command):
    """Every document follows its published schema, and has no key that is not in it."""
    schema = _strict(schema_of(command))
    history = home / ".codex/sessions/2026/11/21"
    history.mkdir(parents=True)
    (history / "rollout-1.jsonl").write_text("{}\n")
    for line in DOCUMENTS[command]:
        ran = run(*shlex.split(line), "--json", store=None, stdin=b"user-123\nnotes\n")
        assert ran.code == 0 or any(word in line for word in MAY_FAIL), ran.err
        jsonschema.validate(ran.json, schema)


def test_what_is_damaged_is_as_written(run, tmp_path):
    """The document of damage that was found follows its schema too."""
    place = tmp_path / "store"
    with open_store(f"file:{place}", ttl=None) as store:
        store.append("alice", [Message("user", "hello")])
    (file,) = place.glob("*.jsonl")
    file.write_bytes(file.read_bytes() + b"{torn\n{}\n")
    ran = run("store", "check", "--json", store=f"file:{place}")
    assert (ran.code, len(ran.json) > 0) == (1, True)
    jsonschema.validate(ran.json, _strict(schema_of("store check")))
