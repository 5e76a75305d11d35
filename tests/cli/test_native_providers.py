"""A person's way with a provider's own protocol: asked, answered, stored, shown, refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from omniagent_cli.cli import main
from tests.agent.native_asking import BY_NAME, Servers
from tests.cli.asking import Program
from tests.cli.scene import environment, surroundings
from tests.servers import anthropic_server
from tests.servers.chat_server import STALL
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

KEY = "sk-ant-of-mine-0123456789"


@pytest.fixture
def native_server():
    """Make servers that speak a provider's own protocol; all are closed after the test."""
    servers = Servers()
    yield servers
    servers.close()


def variables(server):
    """Return the environment in which a server stands for Anthropic's."""
    return {
        "OMNIAGENT_MODEL": f"anthropic:{anthropic_server.MODEL}",
        "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.port}",
        "ANTHROPIC_API_KEY": KEY,
    }


def asked(db, server, *argv):
    """Run a command; return exit code, stdout and stderr."""
    environ = environment(db, **variables(server))
    with surroundings(environ, b"", db.parent) as (out, err):
        code = main(argv, environ=environ, cwd=db.parent)
        return code, *(stream.flush() or stream.buffer.getvalue().decode() for stream in (out, err))


def test_ask_is_answered_stored_and_shown(native_server, tmp_path):
    """The answer is on stdout and nothing else is anywhere; the session keeps it with its counts and its thinking."""
    server = native_server(
        BY_NAME["anthropic"], anthropic_server.answer("17, ", "I think.", thinking=["Hm."])
    )
    db = tmp_path / "a.db"
    assert asked(db, server, "ask", "-s", "s", "Which room?") == (0, "17, I think.\n", "")
    code, out, _ = asked(db, server, "sessions", "show", "s", "--json")
    message = json.loads(out)["messages"][1]
    assert code == 0
    assert message["content"] == "17, I think."
    assert message["model"] == f"anthropic:{anthropic_server.MODEL}"
    assert message["usage"]["cached_tokens"] == 100
    assert message["extra"]["blocks"][0]["signature"] == "SIGNED"
    _, shown, _ = asked(db, server, "sessions", "show", "s")
    assert "SIGNED" not in shown


def test_the_prompt_is_cached(native_server, tmp_path):
    """Instructions and conversation are marked for the cache in each request, and both kinds of cached tokens shown."""
    server = native_server(
        BY_NAME["anthropic"], anthropic_server.answer("One"), anthropic_server.answer("Two")
    )
    db = tmp_path / "a.db"
    for question in ("first", "second"):
        run = asked(db, server, "ask", "-s", "s", "--system", "Be brief.", question)
        assert run[::2] == (0, "")
    bodies = [request.body for request in server.requests if request.method == "POST"]
    cache = {"type": "ephemeral", "ttl": "5m"}
    assert [body["cache_control"] for body in bodies] == [cache, cache]
    assert [body["system"][-1]["cache_control"] for body in bodies] == [cache, cache]
    assert [body["tools"][-1]["cache_control"] for body in bodies] == [cache, cache]
    _, shown, _ = asked(db, server, "sessions", "show", "s", "--json")
    usage = json.loads(shown)["usage"]
    assert (usage["cached_tokens"], usage["cache_write_tokens"]) == (200, 14)
    _, stats, _ = asked(db, server, "sessions", "stats", "--json")
    assert '"cache_write_tokens":14' in stats.replace(" ", "")


def test_without_the_extra_one_line_says_once_what_it_brings(chat_server, tmp_path):
    """Where Anthropic is asked without its own protocol the first run says what the extra adds, the next does not."""
    server = chat_server()
    code = (
        "import sys; sys.modules['pydantic_ai'] = None\n"
        "from omniagent_cli.agent.models import providers\n"
        f"providers.PROVIDERS['anthropic'] = __import__('dataclasses').replace("
        f"providers.PROVIDERS['anthropic'], base_url={server.url!r})\n"
        "from omniagent_cli.cli import main; sys.exit(main())"
    )
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": KEY}
    command = [sys.executable, "-c", code, "ask", "-m", "anthropic:m", "Hi"]
    runs = [
        subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    assert [(run.returncode, run.stdout) for run in runs] == [(0, "You said: Hi\n")] * 2
    assert runs[0].stderr.startswith("The extra adds Anthropic's prompt cache")
    assert "pip install 'omniagent-cli[providers]'" in runs[0].stderr
    assert runs[1].stderr == ""


def test_a_refused_key_is_one_line(native_server, tmp_path):
    """A wrong key is exit 1 and one line that says what to do, without the key."""
    server = native_server(BY_NAME["anthropic"], anthropic_server.status(401, f"bad {KEY}"))
    code, out, err = asked(tmp_path / "a.db", server, "ask", "Hi")
    assert (code, out) == (1, "")
    assert err == (
        "omniagent: error: Anthropic rejected the API key; "
        "set one with `omniagent keys set anthropic` or set ANTHROPIC_API_KEY;"
        " prompt saved; retry with -c or -c -m MODEL\n"
    )


def test_ctrl_c_stops_the_model(native_server, tmp_path):
    """Ctrl-C in the middle keeps what was said, hangs up, and is exit 130."""
    import signal

    server = native_server(BY_NAME["anthropic"], anthropic_server.partial("Hello", STALL))
    db = tmp_path / "a.db"
    program = Program(db, "ask", "-s", "s", "Hi", **variables(server))
    program.wait_for("Hello")
    program.signal(signal.SIGINT)
    code, _, err = program.wait()
    assert code == 130
    assert "Traceback" not in err
    assert server.wait_hangup()
    _, out, _ = asked(db, server, "sessions", "show", "s", "--json")
    assert json.loads(out)["messages"][1]["status"] == "interrupted"


def test_what_is_left_out_is_told(native_server, tmp_path):
    """A setting the model does not have is a line on stderr, and the answer comes."""
    server = native_server(BY_NAME["anthropic"], anthropic_server.answer("Hi"))
    code, out, err = asked(tmp_path / "a.db", server, "ask", "-o", "seed=7", "Hi")
    assert (code, out) == (0, "Hi\n")
    assert f"{anthropic_server.MODEL} does not support seed; sending the request without it" in err


def test_models_list_says_who_is_asked_in_its_own_protocol(run, monkeypatch):
    """Beside the list stands which of its providers are asked in their own protocol; not so with a base_url."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    told = "Using the native protocol (extra [providers]): Anthropic"
    assert told in run("models", "list", "--offline").err
    monkeypatch.setenv("OMNIAGENT_MODEL", "anthropic:m")
    run("config", "set", "agent.base_url", "http://127.0.0.1:9/v1")
    assert told not in run("models", "list", "--offline").err
