"""The end of the program while a thread is still importing compiled libraries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.repl.home import OMNIAGENT, Home, home
from tests.repl.terminal import CTRL_C, CTRL_D

__all__ = ["home"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no ptys")

# Holds a thread inside compiled code at its n-th import. Python up to 3.13 aborts when it ends that thread while the
# interpreter is finalized.
_STALL = """
import os, sys, threading, time
from pathlib import Path
from pydantic_core import SchemaValidator, core_schema

thread, number, mark = os.environ["STALL_THREAD"], int(os.environ["STALL_IMPORT"]), Path(os.environ["STALL_MARK"])
imports = 0

def stall(_value):
    mark.touch()
    while True:
        time.sleep(0.0005)

validator = SchemaValidator(core_schema.no_info_plain_validator_function(stall))

def hook(event, _arguments):
    global imports
    if event == "import" and threading.current_thread().name == thread:
        imports += 1
        if imports == number:
            validator.validate_python(0)

sys.addaudithook(hook)
"""


def _stalling(home: Home, thread: str, number: int) -> dict[str, str]:
    (home.path / "sitecustomize.py").write_text(_STALL)
    return {
        "PYTHONPATH": str(home.path),
        "STALL_THREAD": thread,
        "STALL_IMPORT": str(number),
        "STALL_MARK": str(home.path / "stalled"),
        "OMNIAGENT_MODEL": "openai:fake-1",
        "OPENAI_API_KEY": "sk-test",
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    }


def _leave(home: Home, number: int) -> None:
    mark = home.path / "stalled"
    chat = home.open(**_stalling(home, "omniagent-preload", number))
    chat.wait_until(lambda _: mark.exists(), f"import {number}", timeout=60)
    chat.send(CTRL_D)
    assert chat.wait(timeout=60) == 0
    assert chat.rows[-1] == "you>"


@pytest.mark.parametrize("number", [1, 300, 800])
def test_leaving_while_libraries_load(home: Home, number: int) -> None:
    """Ctrl-D during the preload exits with 0 and prints nothing, although the thread never ends."""
    _leave(home, number)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(1, 850, 8))
def test_leaving_at_every_moment_of_startup(home: Home, number: int) -> None:
    """Ctrl-D exits with 0 whatever module the preload is importing."""
    _leave(home, number)


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(40))
def test_interrupting_at_every_moment_of_startup(home: Home, round_: int) -> None:
    """Ctrl-C and Ctrl-D typed during the start end it cleanly: with 130 before the chat handles Ctrl-C, else with 0."""
    chat = home.start(OMNIAGENT_MODEL="openai:fake-1", OPENAI_API_KEY="sk-test")
    chat.wait_until(lambda _: len(chat.raw) > round_ * 8, "output")
    chat.send(CTRL_C + CTRL_D)
    assert chat.wait() in (0, 130), chat.shown
    assert "Traceback" not in chat.shown
    assert "Fatal" not in chat.shown


def test_doctor_leaves_a_check_that_hangs(home: Home) -> None:
    """A check that hangs in a library is reported, and the program exits with its own code."""
    ran = subprocess.run(
        [str(OMNIAGENT), "doctor"],
        env=home.environ | _stalling(home, "omniagent-doctor", 1),
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert Path(home.path / "stalled").exists()
    assert ran.returncode == 1, ran.stderr
    assert b"FATAL" not in ran.stderr
    assert b"no answer within" in ran.stdout


def test_a_host_program_waits_for_its_threads(home: Home) -> None:
    """A program that uses the library ends with its own code while a preload thread imports; the thread ends first."""
    script = (
        "import sys, time\n"
        "from omniagent_cli.process_end import start_daemon\n"
        "def load():\n"
        "    print('begun', flush=True)\n"
        "    import openai\n"
        "    print('loaded', flush=True)\n"
        "start_daemon(load, name='omniagent-preload')\n"
        "sys.exit(7)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=home.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (7, b"begun\nloaded\n", b"")


def test_a_host_program_that_leaves_an_agent_open(home: Home) -> None:
    """An agent that was never closed, in the middle of a turn, does not disturb the end of its program."""
    script = (
        "from omniagent_cli.agent.agent import Agent\n"
        "from omniagent_cli.testing.scripted import ScriptedModel\n"
        "agent = Agent(ScriptedModel('answer ' * 50))\n"
        "events = agent.stream_sync('hello')\n"
        "print(type(next(events)).__name__)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=home.environ,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
