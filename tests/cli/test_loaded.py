"""What each command loads: no command waits for a library that it does not use."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from omniagent_cli.cli.framework.command_table import COMMANDS, Row, commands_below
from tests.cli.prepared import make_stores, prepare
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

# Libraries that take longer to load than most commands take to run.
HEAVY = ("asyncio", "cryptography", "httpx2", "jsonschema", "keyring", "mcp", "multiprocessing", "openai", "pip", "prompt_toolkit", "psycopg", "pydantic", "pydantic_ai", "redis", "rich", "urllib.request", "yaml")  # fmt: skip
# Command -> what it uses of them; any other command uses none in a pipe.
USED = {
    "chat": {"asyncio"},
    "ask": {"asyncio", "openai", "httpx2", "pydantic", "yaml", "multiprocessing", "urllib.request"},
    "sessions compact": {"asyncio", "openai", "httpx2", "pydantic", "multiprocessing", "urllib.request"},
    "store encrypt": {"cryptography"},
    "store rekey": {"cryptography"},
    "models list": {"asyncio", "urllib.request"},  # who would answer is told by what answers
    "tools list": {"asyncio"},
    "prompts list": {"yaml"},  # their headers
    "prompts show": {"yaml"},
    "acp": {"asyncio", "pydantic"},  # the protocol library is made of both
    "mcp": {"asyncio", "mcp", "pydantic", "httpx2", "jsonschema", "cryptography", "multiprocessing", "urllib.request"},
    "doctor": {"asyncio", "urllib.request"},
}  # fmt: skip
# Each command in a process of its own, forked from one that has loaded nothing of ours, and after two light
# commands what both of them loaded, except the heavy libraries.
_RUNNER = """
import importlib, json, os, sys
lines, heavy, using = map(json.loads, sys.argv[1:4])
report = sys.argv[4]
before, light = set(sys.modules), []
for name, words in lines:
    if len(light) == 2:
        done = dict((row[0], row[2]) for row in map(json.loads, open(report)))
        for module in sorted(set.intersection(*(set(done[name]) for name in light))):
            if module.partition(".")[0] not in heavy and module != "omniagent_cli.__main__":
                importlib.import_module(module)
    if name not in using:
        light.append(name)
    child = os.fork()
    if not child:
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0); os.dup2(null, 1)
        sys.argv = ["omniagent", *words]
        from omniagent_cli.__main__ import main
        try:
            main()
        except SystemExit as end:
            code = end.code
        with open(report, "a") as file:
            print(json.dumps([name, code, sorted(set(sys.modules) - before)]), file=file)
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture
def loaded(home, tmp_path, chat_server, monkeypatch):
    """Run every command once and return its exit code and what it loaded, by its name."""
    stores = tmp_path / "stores"
    stores.mkdir()
    make_stores(stores)
    for name, value in {
        "OPENAI_BASE_URL": chat_server().url,
        "OLLAMA_HOST": "127.0.0.1:9",
        "SHELL": "/bin/bash",
    }.items():
        monkeypatch.setenv(name, value)
    prepare(home, tmp_path, stores)
    lines = []
    for path, row in commands_below(COMMANDS):
        if isinstance(row, Row):
            example = row.examples[0].rpartition("|")[2]
            words = shlex.split(example.replace("~", str(home)))[1:]
            lines.append((" ".join(path), words))
    report = tmp_path / "report"
    subprocess.run(
        [sys.executable, "-c", _RUNNER, *map(json.dumps, (lines, HEAVY, list(USED))), str(report)],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, timeout=110, check=True,
    )  # fmt: skip
    rows = map(json.loads, report.read_text().splitlines())
    return {name: (code, set(modules)) for name, code, modules in rows}


def test_no_command_loads_what_it_does_not_use(loaded):
    """Every command of the table runs, and loads no heavy library but its own."""
    names = {" ".join(path) for path, row in commands_below(COMMANDS) if isinstance(row, Row)}
    assert set(loaded) == names
    assert {name: code for name, (code, _) in loaded.items() if code not in (0, 1, 2)} == {}
    extra = {
        name: sorted((modules & set(HEAVY)) - USED.get(name, set()))
        for name, (_, modules) in loaded.items()
    }
    assert {name: found for name, found in extra.items() if found} == {}
    assert "openai" in loaded["ask"][1]
    assert "typer" in loaded["doctor"][1]
    _check_modules(loaded)


def _check_modules(loaded):
    """Compare our own modules: that of a command is loaded for it, and next to none of other commands'."""
    targets = {
        " ".join(path): f"omniagent_cli.cli.{row.target.partition(':')[0]}"
        for path, row in commands_below(COMMANDS)
        if isinstance(row, Row)
    }
    for name, (_, modules) in loaded.items():
        assert targets[name] in modules
        if name == "doctor":  # which looks at what the others do
            continue
        others = modules & set(targets.values()) - {targets[name]}
        assert len(others) <= 1, (name, others)
