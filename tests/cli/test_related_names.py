"""Names of related projects: events, metadata of a turn, their configuration files and variables."""

import json
import tomllib

import pytest

from omniagent_cli import Agent, SessionEvent, open_store
from omniagent_cli.config.yaml_settings import to_toml
from omniagent_cli.errors import InvalidRecord, UsageError
from tests.servers.chat_server import answer
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]


@pytest.fixture
def memory():
    """Return a store in memory."""
    with open_store("memory:") as store:
        yield store


def test_handlers_are_called_with_what_they_accept(memory):
    """A handler gets nothing, the event, or what its parameters are named after."""
    heard = []
    with memory.session("s") as chat:
        chat.on(SessionEvent.MESSAGE_ADDED, lambda msg: heard.append(msg.text))
        chat.on(
            "message_added", lambda session_id, message: heard.append((session_id, message.role))
        )
        chat.on("message_added", lambda it: heard.append(it.name))
        chat.on(
            "message_added", lambda event, *rest, extra=1: heard.append((event.name, rest, extra))
        )
        chat.on("message_added", lambda *args: heard.append(len(args)))
        chat.on(SessionEvent.SESSION_CLEARED, lambda: heard.append("cleared"))
        memory.on(SessionEvent.METADATA_CHANGED, lambda key, value: heard.append((key, value)))
        chat.add_message("user", "hi")
        chat.set("theme", "dark")
        chat.clear()
    assert heard == [
        "hi", ("s", "user"), "message_added", ("message_added", (), 1), 1, ("theme", "dark"), "cleared",
    ]  # fmt: skip


def test_a_handler_that_no_event_fits_is_refused(memory):
    """A parameter that the event does not have is an error when the handler is added."""
    with pytest.raises(UsageError, match="session_cleared has no 'message'; a handler can take"):
        memory.on(SessionEvent.SESSION_CLEARED, lambda session_id, message: None)


def test_metadata_is_stored_with_the_question_and_not_sent(chat_server, memory, monkeypatch):
    """`metadata=` is part of the user's message and of no request."""
    server = chat_server(answer("Hello."))
    given = {"ticket": 4711, "tags": ["a"]}
    with Agent("openai:gpt-test", base_url=server.url, store=memory) as agent:
        agent.process_with_session("s", "hi", metadata=given)
        given["tags"].append("later")
        with pytest.raises(InvalidRecord):
            agent.process_with_session("s", "again", metadata={1: object()})
    question, reply = (message.record for message in memory.messages("s"))
    assert question["metadata"] == {"ticket": 4711, "tags": ["a"]}
    assert "metadata" not in reply
    assert "4711" not in json.dumps([request.body for request in server.requests], default=str)


def test_ask_meta(run, store):
    """`ask --meta` stores JSON values, or text."""
    assert run("ask", "-s", "s", "--meta", "ticket=4711", "--meta", "by=Alice", "hi").code == 0
    assert store.messages("s")[0].record["metadata"] == {"ticket": 4711, "by": "Alice"}
    told = run("ask", "--meta", "ticket", "hi")
    assert (told.code, told.out) == (2, "")
    assert "invalid --meta 'ticket'; write KEY=VALUE" in told.err


def test_disabled_sessions(run, db, monkeypatch):
    """With OMNIAGENT_SESSIONS_ENABLED=false nothing is saved, and a named session is refused."""
    monkeypatch.setenv("OMNIAGENT_SESSIONS_ENABLED", "false")
    assert run("ask", "hi").code == 0
    assert run("chat", stdin=b"hi\n").code == 0
    assert not db.exists()
    for argv in (["ask", "-s", "s", "hi"], ["chat", "-c"]):
        told = run(*argv)
        assert (told.code, told.out) == (2, "")
        assert "sessions are disabled (sessions.enabled is false)" in told.err
    monkeypatch.setenv("OMNIAGENT_SESSIONS_ENABLED", "perhaps")
    assert run("ask", "hi").code == 2


YAML = """\
gateway: {address: "127.0.0.1:18789"}
storage: {type: sqlite, path: /data/omniagent.db}
sessions: {enabled: true, ttl: 168h}
agent:
  provider: anthropic
  model: claude-sonnet
  api_key: sk-secret
  temperature: 0.2
"""


@pytest.mark.parametrize("name", ["omniagent.yaml", "omniagent.json"])
def test_a_yaml_file_is_refused_with_the_toml(run, tmp_path, name):
    """The error has TOML that the settings accept, names what it leaves out, and shows no key."""
    file = tmp_path / name
    import yaml

    file.write_text(YAML if name.endswith("yaml") else json.dumps(yaml.safe_load(YAML)))
    told = run("config", "list", "--config", str(file))
    assert (told.code, told.out) == (2, "")
    assert f"{file} is a {name[10:].upper()} file, but settings are read from TOML" in told.err
    assert "sk-secret" not in told.err
    assert "# gateway.address: no such setting" in told.err
    assert "# agent.api_key: store the key with: omniagent keys set anthropic" in told.err
    toml = told.err.split("\n\n", 1)[1]
    assert tomllib.loads(toml) == {
        "model": "anthropic:claude-sonnet",
        "store": {"url": "sqlite:////data/omniagent.db"},
        "sessions": {"enabled": True, "ttl": "7d"},
        "agent": {"temperature": 0.2},
    }
    (tmp_path / "config.toml").write_text(toml)
    assert run("config", "list", "--config", "config.toml").code == 0


@pytest.mark.parametrize(
    ("document", "toml", "notes"),
    [
        ({"storage": {"type": "redis", "redis": {"url": "redis://h"}}}, {"store": {"url": "redis://h"}}, []),
        ({"storage": {"type": "memory"}}, {"store": {"url": "memory:"}}, []),
        ({"storage": {"type": "mongo"}}, {}, ["storage.type: mongo must be sqlite, redis with storage.redis.url, or memory"]),
        ({"sessions": {"ttl": "1h30m0s", "enabled": False}}, {"sessions": {"enabled": False, "ttl": "1h30m"}}, []),
        ({"sessions": {"ttl": 0}}, {"sessions": {"ttl": "never"}}, []),
        ({"sessions": {"ttl": "soon"}}, {"sessions": {"ttl": "never"}}, ["sessions.ttl: soon is not a duration"]),
        ({"agent": {"provider": "Ollama", "max_tokens": 7}}, {"agent": {"provider": "ollama", "max_tokens": 7}}, []),
        ({"agent": {"model": "m"}}, {"model": "m"}, []),
        ({1: {2: {3: {4: 5}}}}, {}, ["1.2.3: no such setting"]),
    ],
)  # fmt: skip
def test_each_setting_is_translated(document, toml, notes):
    """Every setting has its TOML, or a note."""
    text, found = to_toml(document, {})
    assert (tomllib.loads(text), found) == (toml, notes)


@pytest.mark.parametrize(
    "content", [b"", b"- a\n", b"{", b"\xff\xfe", b"a: &x [*x]\n", b"{" * 3000]
)
def test_a_yaml_file_without_settings_is_refused(run, tmp_path, content):
    """Any file ending in .yaml is refused with the place of the TOML file."""
    (tmp_path / "x.yaml").write_bytes(content)
    told = run("config", "list", "--config", "x.yaml")
    assert (told.code, told.out) == (2, "")
    assert "settings are read from TOML" in told.err
