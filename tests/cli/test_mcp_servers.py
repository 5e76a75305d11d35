"""MCP servers of the settings in the commands: offered, asked about, stored, and gone afterwards."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from omniagent_cli.config.trust import trust_project
from tests.cli.asking import Program, variables
from tests.repl.terminal import CTRL_C, CTRL_D
from tests.servers.chat_server import answer, calls
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

SERVERS = Path(__file__).parents[1] / "servers"


def table(name, script, *argv, **env):
    """Return the settings of a server."""
    lines = [f"[mcp.servers.{name}]", f"command = {[sys.executable, str(SERVERS / script), *argv]}"]
    lines += [f"env.{variable} = {value!r}" for variable, value in env.items()]
    return "\n".join(lines) + "\n"


@pytest.fixture
def settings(home):
    """Write the person's own settings."""

    def settings(*tables):
        path = home / ".config" / "omniagent" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(tables))

    return settings


@pytest.fixture
def notes(tmp_path):
    return tmp_path / "notes"


@pytest.fixture
def faithful(settings, notes):
    """The settings name a server that does everything right."""
    settings(table("kind", "mcp_server.py", NOTES=str(notes)))


def until(true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


REMEMBER = calls(("kind__remember", {"text": "milk"}))


def test_a_model_uses_a_server(program, faithful, notes, chat_server, store):
    """The model is offered the tools, calls one, gets what it says, and all of it is stored."""
    server = chat_server(REMEMBER, answer("Noted."))
    ran = program(
        "ask", "-s", "s", "--yes-tools", "kind", "--", "Remember milk", **variables(server)
    )
    assert (ran.returncode, ran.stdout) == (0, b"Noted.\n"), ran.stderr
    assert notes.read_text() == "milk\n"
    offered = [tool["function"]["name"] for tool in server.chats()[0]["tools"]]
    assert {"kind__add", "kind__remember", "sessions_search"} <= set(offered)
    assert server.chats()[1]["messages"][-1]["content"] == "wrote 'milk'"
    kept = store.get("s").messages
    assert [message.role for message in kept] == ["user", "assistant", "tool", "assistant"]
    assert kept[2].text == "wrote 'milk'"


def test_a_script_refuses_what_a_server_writes(program, faithful, notes, chat_server):
    """Without --yes-tools nothing is called, although the server says what it likes of itself."""
    server = chat_server(REMEMBER, answer("I may not."))
    ran = program("ask", "Remember milk", **variables(server))
    assert (ran.returncode, ran.stdout) == (0, b"I may not.\n"), ran.stderr
    assert not notes.exists()
    assert "kind__remember writes" in server.chats()[1]["messages"][-1]["content"]


def test_a_strangers_project_file_starts_nothing(program, chat_server, tmp_path):
    """A server in a project file that nobody trusted is not run, whatever the command; a trusted one is."""
    mark = tmp_path / "owned"
    (tmp_path / ".omniagent.toml").write_text(
        f"[mcp.servers.x]\ncommand = ['touch', {str(mark)!r}]\n"
    )
    ran = program("ask", "hello", **variables(chat_server()))
    assert ran.returncode == 0
    assert b"is not trusted, so it does not set mcp.servers.x.command" in ran.stderr
    assert not mark.exists()
    trust_project(tmp_path / ".omniagent.toml", environ=os.environ)
    ran = program("ask", "hello", **variables(chat_server()))
    assert b"the MCP server 'x' could not be started" in ran.stderr
    assert mark.exists()


def test_nothing_starts_when_no_tools_are_offered(program, settings, chat_server, tmp_path):
    """--no-tools, a server that is off, and commands that ask no model start no server."""
    mark = tmp_path / "started"
    started = f"[mcp.servers.x]\ncommand = ['touch', {str(mark)!r}]\n"
    settings(started)
    assert program("ask", "--no-tools", "hello", **variables(chat_server())).returncode == 0
    assert program("sessions", "list").returncode == 0
    settings(started + "enabled = false\n")
    assert program("ask", "hello", **variables(chat_server())).returncode == 0
    settings(started, "[tools]\ndisabled = ['x']\n")
    assert program("ask", "hello", **variables(chat_server())).returncode == 0
    assert not mark.exists()


def test_a_server_that_fails_is_told_once_and_the_answer_comes(program, settings, chat_server):
    """One line on stderr for each server that cannot be started; the turns go on."""
    settings(
        table("gone", "mcp_evil.py", "dies_at_start"), table("well", "mcp_evil.py", "chatters")
    )
    server = chat_server()
    ran = program("chat", stdin=b"one\ntwo\n", **variables(server))
    assert ran.returncode == 0
    assert ran.stdout.decode().split() == ["You", "said:", "one", "You", "said:", "two"]
    told = ran.stderr.decode()
    assert told.count("the MCP server 'gone' could not be started") == 1
    assert "\x1b" not in told
    assert "well__go" in [tool["function"]["name"] for tool in server.chats()[1]["tools"]]


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("hangs", signal.SIGINT),
        ("hangs", signal.SIGTERM),
        ("hangs", signal.SIGHUP),
        ("never_starts", signal.SIGINT),
        ("never_starts", signal.SIGTERM),
    ],
)
def test_a_stopped_command_leaves_no_server(db, settings, chat_server, tmp_path, kind, number):
    """Ctrl-C, kill and a closed window, in a call or a start, end even a server that does not want to."""
    mark = tmp_path / "mark"
    settings(table("evil", "mcp_evil.py", kind, MARK=str(mark)))
    server = chat_server(calls(("evil__go", {})))
    with Program(db, "ask", "--yes-tools", "evil", "--", "go", **variables(server)) as running:
        until(lambda: mark.exists() or running._process.poll() is not None)
        running.signal(number)
        code, _, told = running.wait()
    assert (code, "Traceback" in told) == (130 if number == signal.SIGINT else 143, False), told
    until(lambda: not is_running(int(mark.read_text())))


def test_a_killed_command_leaves_no_server(db, settings, chat_server, tmp_path):
    """After kill -9, which nobody can answer, a server that hangs in a call and hears no signal but the last ends too."""
    mark = tmp_path / "mark"
    settings(table("evil", "mcp_evil.py", "hangs", MARK=str(mark)))
    server = chat_server(calls(("evil__go", {})))
    with Program(db, "ask", "--yes-tools", "evil", "--", "go", **variables(server)) as running:
        until(lambda: mark.exists() or running._process.poll() is not None)
        running.signal(signal.SIGKILL)
        running.wait()
    until(lambda: not is_running(int(mark.read_text())))


def test_ctrl_c_at_the_prompt_is_not_for_the_server(person_at_pty, settings, chat_server, tmp_path):
    """The person is asked, says yes, stops the call with Ctrl-C; the same server answers the next one, and ends at the end."""
    mark = tmp_path / "mark"
    settings(table("evil", "mcp_evil.py", "waits_once", MARK=str(mark)))
    server = chat_server(calls(("evil__go", {})), calls(("evil__go", {})), answer("Done."))
    with person_at_pty("chat", **variables(server)) as terminal:
        terminal.wait_prompt(1)
        terminal.say("first")
        terminal.wait_for("Allow?")
        terminal.say("h")
        terminal.wait_until(lambda _shown: mark.exists(), "a call")
        terminal.send(CTRL_C)
        terminal.wait_prompt(2)
        terminal.say("second")
        terminal.wait_for("Done.")
        terminal.send(CTRL_D)
        assert terminal.wait() == 0
    assert server.chats()[2]["messages"][-1]["content"] == "call 2 of one life"
