"""Who answers when nobody was named, with real servers and real silence."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

from omniagent_cli.agent.models.discovery import (
    LocalServer,
    ModelChoice,
    choose_model,
    list_models,
    probe_local_servers,
)
from omniagent_cli.agent.models.providers import PROVIDERS
from omniagent_cli.errors import (
    ConfigError,
    ModelError,
    ModelRefused,
    ModelUnreachable,
    UsageError,
)
from omniagent_cli.keys import KeyChain
from tests.servers.chat_server import document, status, stream
from tests.servers.ports import refusing_port

OLLAMA = PROVIDERS["ollama"]


def nothing():
    """No local server."""
    return []


def choose(environ=(), probe=nothing, **options):
    environ = dict(environ)
    keys = KeyChain(environ=environ, use_keyring=False)
    return choose_model(environ=environ, keys=keys, probe=probe, **options)


def test_an_address_alone(chat_server):
    """Where only an address is configured, its server's first model answers, and no key leads anywhere else."""
    server = chat_server(models=["text-embed", "mine"])
    for environ in ({}, {"OPENAI_API_KEY": "sk", "GROQ_API_KEY": "g"}):
        choice = choose(environ, base_url=server.url)
        assert (choice.model, choice.base_url, choice.automatic) == (
            "openai:mine",
            server.url,
            True,
        )
        assert choice.reason == f"base_url is {server.url}"
    assert choose(configured="openai", base_url=server.url).model == "openai:mine"
    assert choose(configured="openai").model == "openai:gpt-6.1-sol"
    with pytest.raises(ModelUnreachable):
        choose({"OPENAI_API_KEY": "sk"}, base_url="http://127.0.0.1:1/v1")


def test_the_order_of_choice(chat_server):
    """Named, the session's, configured, a key, a local server, recall: the first there is."""
    server = chat_server(models=["nomic-embed-text", "llama3:8b"])
    here = [LocalServer(OLLAMA, server.url, ("nomic-embed-text", "llama3:8b"))]
    key = {"GROQ_API_KEY": "g", "GOOGLE_API_KEY": "k"}
    everything = {
        "explicit": "openai:a",
        "session": "xai:b",
        "configured": "mistral:c",
        "configured_from": "OMNIAGENT_MODEL",
        "environ": key,
        "probe": lambda: here,
    }
    choices = []
    for name in ("explicit", "session", "configured", "environ", "probe"):
        choices.append(choose(**everything))
        del everything[name]
    assert [*choices, choose()] == [
        ModelChoice("openai:a", "set explicitly"),
        ModelChoice("xai:b", "the session keeps its model"),
        ModelChoice("mistral:c", "set by OMNIAGENT_MODEL"),
        ModelChoice(
            "gemini:gemini-3.8-flash",
            "GOOGLE_API_KEY is set",
            automatic=True,
        ),
        ModelChoice(
            "ollama:llama3:8b",
            f"Ollama is running at {server.url}",
            automatic=True,
            base_url=server.url,
            send_key=False,
        ),
        ModelChoice("recall", "no API key or local server found", automatic=True),
    ]


def test_variables_win_over_stored_keys(tmp_path):
    """A key in a variable decides before one kept in the file."""
    keys = KeyChain(tmp_path / "keys", environ={"XAI_API_KEY": "x"}, use_keyring=False)
    keys.set("openai", "sk-1")
    assert choose_model(keys=keys, environ={}, probe=nothing).model == "xai:grok-4.7"
    keys = KeyChain(tmp_path / "keys", environ={}, use_keyring=False)
    choice = choose_model(keys=keys, environ={}, probe=nothing)
    assert choice.reason == f"an API key for OpenAI is set ({tmp_path / 'keys'})"


def test_recall_can_be_named():
    """The built-in answerer is a model like others."""
    assert choose(explicit="recall") == ModelChoice("recall", "set explicitly")


def test_offline_stays_on_this_machine(chat_server):
    """Offline, keys do not count, a configured model elsewhere is passed over, and a named one refused."""
    away = {"environ": {"OPENAI_API_KEY": "k"}, "offline": True}
    assert choose(configured="openai:x", **away).reason == "offline mode and no local server found"
    assert choose(configured="vllm:x", **away).model == "vllm:x"
    assert choose(explicit="openai:x", base_url="http://127.0.0.1:9/v1", **away) == ModelChoice(
        "openai:x", "set explicitly", base_url="http://127.0.0.1:9/v1"
    )
    with pytest.raises(UsageError, match="openai:x is not on this machine and offline mode is on"):
        choose(explicit="openai:x", **away)
    with pytest.raises(
        ModelUnreachable, match="the session's model, openai:x, is not on this machine"
    ):
        choose(session="openai:x", **away)


def test_another_programs_model_name_is_no_obstacle():
    """An imported session's model says nothing about where it is, so it is passed over with a note."""
    assert choose(session="gpt-4o").reason == (
        "no API key or local server found; the session's model, gpt-4o, has no known provider"
    )


def test_wrong_names_are_told():
    """A model that cannot be read is an error, never another model."""
    with pytest.raises(UsageError, match="unknown provider"):
        choose(explicit="opnai:x")
    with pytest.raises(ConfigError, match=r"^OMNIAGENT_MODEL: "):
        choose(configured="nonsense", configured_from="OMNIAGENT_MODEL")


def test_a_local_server_alone_means_its_first_model(chat_server):
    """Naming only the server takes the first model that can chat."""
    server = chat_server(models=["text-embedding-3", "qwen3:4b"])
    environ = {"OLLAMA_HOST": f"127.0.0.1:{server.port}"}
    assert choose(environ, explicit="ollama").model == "ollama:qwen3:4b"
    server.models = []
    with pytest.raises(ModelRefused, match="has no models"):
        choose(environ, explicit="ollama")


def test_probing_finds_servers_and_sends_no_key(chat_server, monkeypatch):
    """What answers like a server of models is found, without telling it anything."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("OLLAMA_API_KEY", "secret")
    good, page = chat_server(models=["a", "b"]), chat_server()
    page.models_reply = document(b"<html>", "text/html")
    angry = chat_server()
    angry.models_reply = status(401)
    servers = {"ollama": good, "lmstudio": page, "vllm": angry}
    candidates = [(PROVIDERS[name], server.url) for name, server in servers.items()]
    assert probe_local_servers(candidates) == [LocalServer(OLLAMA, good.url, ("a", "b"))]
    assert set(good.requests[0].headers) == {"host", "accept-encoding", "user-agent"}


def test_probing_honours_ollama_host(chat_server):
    """The usual variable moves the usual address, but never off this machine."""
    server = chat_server(models=["a"])
    found = probe_local_servers(environ={"OLLAMA_HOST": f"0.0.0.0:{server.port}"})
    assert LocalServer(OLLAMA, server.url, ("a",)) in found
    for host in ("192.0.2.1", "http://x:y:z"):
        assert OLLAMA not in [
            s.provider for s in probe_local_servers(environ={"OLLAMA_HOST": host})
        ]


def test_probing_does_not_wait_for_the_silent(chat_server):
    """Servers that accept and say nothing, or drip, cost a quarter of a second together."""
    drip = chat_server()
    drip.models_reply = stream(*[b" ", 0.05] * 40)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        begun = time.monotonic()
        assert (
            probe_local_servers([(OLLAMA, mute), (OLLAMA, drip.url)] * 2, timeout_seconds=1) == []
        )
        assert time.monotonic() - begun < 3  # one after the other they take 4 s


def test_list_models(chat_server):
    """Names come in the server's order, asked with the key given."""
    server = chat_server(models=["models/b", "a"])
    assert list_models(PROVIDERS["gemini"], base_url=server.url, api_key="k") == ["b", "a"]
    assert server.requests[0].headers["authorization"] == "Bearer k"
    assert list_models(PROVIDERS["anthropic"], base_url=server.url, api_key="k") == ["b", "a"]
    assert server.requests[1].headers["x-api-key"] == "k"
    assert "authorization" not in server.requests[1].headers


@pytest.mark.parametrize(
    ("reply", "error", "text"),
    [
        (status(401, "no sk-1"), ModelRefused, "Groq rejected the API key; set one with `omniagent keys set groq` or set GROQ_API_KEY"),
        (status(404, "no"), ModelRefused, "Groq at URL has no model list: no; check the base_url and the key"),
        (status(403, "no"), ModelRefused, "Groq at URL has no model list for this key: no; check the base_url and the key"),
        (status(503), ModelUnreachable, "Groq failed or is overloaded (503): it went wrong; try again later"),
        (status(302, "", Location="http://127.0.0.1:1/"), ModelRefused, "Groq at URL redirects to http://127.0.0.1:1/; set that as base_url if you trust it"),
        (document(b"<html>", "text/html"), ModelError, "Groq at URL sent no model list; check that this address supports Chat Completions (it often ends in /v1)"),
        (document(b'{"data": {}}', "application/json"), ModelError, "Groq at URL sent no model list; check that this address supports Chat Completions (it often ends in /v1)"),
    ],
)  # fmt: skip
def test_list_models_failing(chat_server, reply, error, text):
    """A list that does not come is told as what went wrong, and a redirect is not followed."""
    server = chat_server()
    server.models_reply = reply
    with pytest.raises(error) as told:
        list_models(PROVIDERS["groq"], base_url=server.url, api_key="sk-1")
    assert str(told.value).replace(server.url, "URL") == text


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id": "a"}]',
        b'{"object": "list", "data": [{"id": "a"}, 3]}',
        b'[{"id": ""}, {"id": " "}, {"id": "\\u001b[31m"}, {"id": "b\\nc"}, {"id": "\\ud83d"}, {"id": "a"}]',
    ],
)
def test_shapes_of_lists(chat_server, body):
    """OpenAI's shape and a bare list are both lists of models; what cannot be a name is left out."""
    server = chat_server()
    server.models_reply = document(body, "application/json")
    assert list_models(PROVIDERS["together"], base_url=server.url) == ["a"]


def test_nobody_to_list():
    """A closed port is unreachable."""
    with (
        refusing_port() as port,
        pytest.raises(ModelUnreachable, match="Ollama does not respond"),
    ):
        list_models(OLLAMA, base_url=f"http://127.0.0.1:{port}/v1")


def test_choosing_loads_no_model_library():
    """Deciding who answers does not import the library that asks."""
    code = (
        "import sys; from omniagent_cli.agent.models.discovery import choose_model, probe_local_servers\n"
        "probe_local_servers([]); choose_model(explicit='openai:x')\n"
        "print({'openai', 'httpx2', 'asyncio', 'urllib.request'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
