"""`omniagent models`: what can be used, what of it is remembered, and who answers."""

from __future__ import annotations

import json
import os
import stat
from contextlib import contextmanager

import pytest

from omniagent_cli.cli.talk.agent_factory import AgentFactory
from omniagent_cli.complete import answer as complete
from omniagent_cli.complete.models import read_models, write_models
from omniagent_cli.config.settings import load_settings
from tests.servers.chat_server import document, status
from tests.servers.fixtures import chat_server

__all__ = ["chat_server"]

KEY = "sk-secret-of-mine"


@pytest.fixture
def openai(chat_server, monkeypatch):
    """A server in the place of OpenAI, a key for it, and nothing else on this machine."""
    server = chat_server(models=["gpt-6.1-sol", "gpt-6-luna", "text-embedding-3-small"])
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return server


@pytest.fixture
def cache(home):
    """Where the names are remembered."""
    return home / ".cache" / "omniagent" / "models"


def names(ran):
    return [row[0] for row in ran.cells]


def test_nothing_set_up(run, monkeypatch):
    """Without a key and a server there is recall, which is chosen, and why."""
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    ran = run("models")
    assert ran.cells == [["recall", "built in", "", "chosen"]]
    assert ran.err == ("Default model: recall; no API key or local server found\n")


def test_what_a_provider_offers_is_asked_once_a_day(run, openai, cache):
    """A list is asked for with the key, remembered in a private file with its time, and asked again on demand."""
    ran = run("models", "list")
    assert [row[:2] for row in ran.cells] == [
        ["openai:gpt-6.1-sol", "OPENAI_API_KEY"],
        ["openai:gpt-6-luna", "OPENAI_API_KEY"],
        ["openai:text-embedding-3-small", "OPENAI_API_KEY"],
        ["recall", "built in"],
    ]
    assert [row[3] for row in ran.cells] == ["chosen", "", "", ""]
    assert "Default model: openai:gpt-6.1-sol; OPENAI_API_KEY is set" in ran.err
    assert openai.requests[-1].headers["authorization"] == f"Bearer {KEY}"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o600
    assert KEY not in ran.out + ran.err + cache.read_text()
    again = run("models", "--json")
    assert len(openai.requests) == 1
    assert again.json[0] == {
        "model": "openai:gpt-6.1-sol",
        "origin": "OPENAI_API_KEY",
        "updated_at": ran.cells[0][2],
        "chosen": True,
        "reason": "OPENAI_API_KEY is set",
        "shutdown_date": None,
    }
    openai.models.append("gpt-6")
    assert "openai:gpt-6" not in names(run("models", "list"))
    assert "openai:gpt-6" in names(run("models", "list", "--refresh"))
    assert len(openai.requests) == 2


def test_who_was_asked_long_ago_is_asked_again(run, openai, home, cache):
    """After a day a list is asked for anew; one that is no list of ours counts as none."""
    environ = {"HOME": str(home)}
    write_models("openai", openai.url, "2020-01-01T00:00:00.000000Z", ["old"], environ)
    assert "openai:old" not in names(run("models", "list"))
    cache.write_bytes(b"\xff\xfe broken\topenai:x\n")
    assert "openai:gpt-6.1-sol" in names(run("models", "list"))


def test_one_that_fails_hides_no_other(run, openai, chat_server, monkeypatch, home):
    """A provider that fails is told in one line; what it offered before is listed, and the rest as well."""
    broken = chat_server()
    broken.models_reply = status(401, f"wrong key {KEY}")
    monkeypatch.setenv("OLLAMA_HOST", broken.url.removesuffix("/v1"))
    openai.models_reply = status(503, "busy")
    ran = run("models", "list")
    assert ran.code == 0
    assert names(ran) == ["openai:gpt-6.1-sol", "recall"]
    assert ran.err.splitlines()[0] == (
        "omniagent: warning: OpenAI failed or is overloaded (503): busy; try again later"
    )
    then = "2020-01-01T00:00:00.000000Z"
    write_models("openai", openai.url, then, ["gpt-6-astra", "gpt-6.1-sol"], {"HOME": str(home)})
    ran = run("models", "list")
    assert [row[::2] for row in ran.cells[:2]] == [
        ["openai:gpt-6-astra", then],
        ["openai:gpt-6.1-sol", then],
    ]


def test_one_provider_alone(run, openai):
    """--provider lists one provider's models, and fails as it fails."""
    assert names(run("models", "list", "--provider", "OpenAI"))[0] == "openai:gpt-6.1-sol"
    openai.models_reply = document(b"<html>", "text/html")
    ran = run("models", "list", "--provider", "openai", "--refresh")
    assert (ran.code, "sent no model list" in ran.err) == (1, True)
    ran = run("models", "list", "--provider", "opnai")
    assert (ran.code, "did you mean openai?" in ran.err) == (2, True)


def test_a_list_is_asked_for_where_answers_are(run, openai, chat_server, monkeypatch):
    """A provider that its own variable moved to another server is asked there, and its own address gets no key."""
    gateway = chat_server(models=["claude-here"])
    monkeypatch.setenv("ANTHROPIC_BASE_URL", gateway.url.removesuffix("/v1"))
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    ran = run("models", "list", "--offline")
    assert ("anthropic:claude-here" in names(ran), ran.err.count("warning")) == (True, 0)
    assert gateway.requests[0].headers["x-api-key"] == KEY


def test_offline_asks_nobody_but_this_machine(run, openai, chat_server, monkeypatch):
    """Offline, providers on the net are not asked; what they are known to have is listed."""
    monkeypatch.setenv("GROQ_API_KEY", "gsk")
    monkeypatch.setenv("OLLAMA_HOST", chat_server(models=["llama3:8b"]).url.removesuffix("/v1"))
    listed = (run("models", "list", "--offline") for _ in range(10))
    ran = next(ran for ran in listed if "ollama" in ran.out)
    assert ["groq:openai/gpt-oss-120b", "GROQ_API_KEY", "", ""] in ran.cells
    assert "openai:gpt-6.1-sol" in names(ran)  # it is on this machine
    assert "Default model: ollama:llama3:8b; " in ran.err
    ran = run("models", "list", "--offline", "--provider", "xai")
    assert (ran.code, "offline mode is on" in ran.err) == (1, True)


def test_a_local_server_is_never_sent_a_key(run, chat_server, monkeypatch):
    """What runs on this machine is found without a key, and listed with its address."""
    server = chat_server(models=["llama3:8b", "bad\x1b[31mname"])
    monkeypatch.setenv("OLLAMA_HOST", server.url.removesuffix("/v1"))
    monkeypatch.setenv("OLLAMA_API_KEY", KEY)
    ran = next(ran for _ in range(10) if "ollama" in (ran := run("models", "list")).out)
    assert ran.cells[0][:2] == ["ollama:llama3:8b", server.url]
    assert "\x1b" not in ran.out
    assert all("authorization" not in request.headers for request in server.requests)


def test_aliases_and_what_the_settings_name_are_listed(run, openai):
    """An alias is a model to choose; a model no provider lists is still the one that answers."""
    run("config", "set", "models.aliases.fast", "openai:gpt-6-luna")
    run("config", "set", "model", "openai:gpt-99")
    ran = run("models", "list")
    assert ran.cells[0] == ["openai:gpt-99", "your settings", "", "chosen"]
    assert ["fast", "alias of openai:gpt-6-luna", "", ""] in ran.cells
    run("config", "set", "model", "fast")
    ran = run("models", "list")
    assert [row[0] for row in ran.cells if row[3]] == ["openai:gpt-6-luna"]


def test_an_address_in_the_settings_is_asked(run, chat_server, openai):
    """A server of one's own is listed with what it has, as the provider whose place it takes."""
    own = chat_server(models=["mine"])
    run("config", "set", "agent.base_url", own.url)
    assert names(run("models", "list")) == ["openai:mine", "recall"]
    assert not openai.requests


def test_use(run, openai):
    """The model is written to the settings; one that its provider does not list is a warning with close matches."""
    run("models", "list")
    assert run("models", "use", "openai:gpt-6-luna").err == ""
    assert run("config", "get", "model").out == "openai:gpt-6-luna\n"
    ran = run("models", "use", "openai:gpt-6-lna")
    assert ran.code == 0
    assert "OpenAI did not list gpt-6-lna (just now); did you mean openai:gpt-6-luna" in ran.err
    ran = run("models", "use", "gpt-6-luna")
    assert (ran.code, ran.err) == (0, "")
    assert run("config", "get", "model").out == "openai:gpt-6-luna\n"
    ran = run("models", "use", "groq:x")
    assert (
        "no API key for Groq; set one with `omniagent keys set groq` or set GROQ_API_KEY" in ran.err
    )
    assert run("models", "use", "opnai:gpt-6.1-sol").code == 2
    assert run("models", "use", "recall").code == 0
    assert run("config", "get", "model").out == "recall\n"


def test_tab_knows_the_names(run, openai, home):
    """TAB offers aliases, what providers offered, and each one's usual model, for -m and `models use`."""
    run("config", "set", "models.aliases.fast", "openai:gpt-6-luna")
    environ = {"HOME": str(home)}
    assert [name for name, _ in complete(["ask", "-m", "openai:"], environ)] == [
        "openai:gpt-6.1-sol"
    ]
    run("models", "list")
    for line in (["ask", "-m", "openai:gpt-6"], ["models", "use", "openai:gpt-6"]):
        assert [name for name, _ in complete(line, environ)] == [
            "openai:gpt-6.1-sol",
            "openai:gpt-6-luna",
        ]
    assert complete(["chat", "--model=f"], environ) == [("--model=fast", "openai:gpt-6-luna")]
    assert ("openai", "OpenAI") in complete(["keys", "set", "o"], environ)
    assert len(openai.requests) == 1


def test_what_a_server_calls_its_models_is_kept_harmless(home):
    """Names that no person could type are not remembered, and no server can fill the cache."""
    environ = {"HOME": str(home)}
    bad = ["a\tb", "a\nb", "\x1b[31m", "", "x" * 300, "two words", "fine", "fine"]
    write_models("vllm", "http://127.0.0.1:8000/v1", "2026-01-01T00:00:00Z", bad, environ)
    assert [row[0] for row in read_models(environ)] == ["vllm:fine"]
    many = map(str, range(20_000))
    write_models("vllm", "http://127.0.0.1:8000/v1", "2026-01-01T00:00:00Z", many, environ)
    assert len(read_models(environ)) == 5000


def test_a_cache_that_cannot_be_written_costs_nothing(run, openai, cache):
    """Without a place for it, nothing is remembered and everything is listed."""
    cache.parent.parent.mkdir()
    cache.parent.write_text("in the way")
    ran = run("models", "list")
    assert (ran.code, names(ran)[0]) == (0, "openai:gpt-6.1-sol")


# A server that was found.


@pytest.fixture
def ollama(chat_server, monkeypatch):
    """A local server nobody named."""
    server = chat_server(models=["llama3:8b"])
    monkeypatch.setenv("OLLAMA_HOST", server.url.removesuffix("/v1"))
    return server


@contextmanager
def until_found(person, *argv):
    """Start a program until it finds the server: a busy machine may miss the quarter of a second it has for that."""
    for attempt in range(10):
        with person(*argv, columns=200, OLLAMA_HOST=os.environ["OLLAMA_HOST"]) as terminal:
            shown = terminal.wait_match(r"ollama:llama3:8b(\?| because)|using recall|You said")
            if "using recall" not in shown or attempt == 9:
                yield terminal
                return


def test_a_found_server_is_used_with_a_note_in_scripts(run, ollama, home):
    """Where nobody can be asked it answers, is named, and is not taken for agreed to."""
    ran = next(ran for _ in range(10) if "recall" not in (ran := run("ask", "hi")).err)
    assert (ran.code, ran.out) == (0, "You said: hi\n")
    assert ran.err == (
        f"Using ollama:llama3:8b because Ollama is running at {ollama.url}; "
        "make it the default: omniagent models use ollama:llama3:8b\n"
    )
    assert not (home / ".local" / "state" / "omniagent" / "local-servers").exists()


def test_a_person_is_asked_once_about_a_found_server(person, ollama, home):
    """At a terminal the first word goes to it after a yes, which is remembered."""
    with until_found(person, "ask", "hi") as terminal:
        terminal.wait_for("on this machine. Use ollama:llama3:8b? [y/N]")
        assert not ollama.chats()
        terminal.say("y")
        terminal.wait_for("You said: hi")
        assert terminal.wait() == 0
    with until_found(person, "ask", "again") as terminal:
        assert terminal.wait() == 0
        assert "[y/N]" not in terminal.shown
    assert len(ollama.chats()) == 2


def test_a_person_who_says_no_is_answered_by_recall(person, ollama):
    """A no sends nothing there."""
    with until_found(person, "ask", "hi") as terminal:
        terminal.wait_for("[y/N]")
        terminal.say("")
        assert terminal.wait() == 0
        assert "You declined ollama:llama3:8b; using recall" in terminal.shown
    assert not ollama.chats()


def test_a_chat_asks_before_its_first_question(person, ollama):
    """In a chat the question comes with the first line, and its yes is remembered."""
    with until_found(person, "chat") as terminal:
        terminal.wait_for("Using ollama:llama3:8b because")
        terminal.say("hello")
        terminal.wait_for("Use ollama:llama3:8b? [y/N]")
        assert not ollama.chats()
        terminal.say("y")
        terminal.wait_for("You said: hello")
        terminal.wait_prompt(2)
        terminal.say("once more")
        terminal.wait_for("You said: once more")
        terminal.wait_prompt(3)
        assert terminal.shown.count("[y/N]") == 1
        terminal.say("/quit")
        assert terminal.wait() == 0


def test_a_named_model_needs_no_question(person, ollama):
    """Who names the model has agreed."""
    host = {"OLLAMA_HOST": os.environ["OLLAMA_HOST"]}
    with person("ask", "-m", "ollama:llama3:8b", "hi", **host) as terminal:
        assert terminal.wait() == 0
        assert "[y/N]" not in terminal.shown
    assert json.dumps(ollama.chats()[0]["model"]) == '"llama3:8b"'


def test_the_prompt_knows_the_names_too(run, openai, home, tmp_path):
    """What TAB offers after /model are the same names, without asking anybody."""
    run("models", "list")
    asked = len(openai.requests)
    settings = load_settings({"HOME": str(home)}, tmp_path)
    known = AgentFactory(settings, tell=pytest.fail).known_models()
    assert {"openai:gpt-6-luna", "groq:openai/gpt-oss-120b", "recall"} < set(known)
    assert len(openai.requests) == asked
