"""Which protocol a provider is asked in: by what is installed, and by which address was given."""

from __future__ import annotations

import subprocess
import sys

import pytest

from omniagent_cli.agent.models.discovery import choose_model, list_models
from omniagent_cli.agent.models.engine_factory import endpoint_for, open_engine
from omniagent_cli.agent.models.protocol_choice import ProtocolEngine
from omniagent_cli.agent.models.providers import PROVIDERS, parse_model
from omniagent_cli.agent.native.engine import NativeEngine
from omniagent_cli.errors import (
    ConfigError,
    ModelRefused,
    ModelUnreachable,
    UsageError,
)
from omniagent_cli.keys import KeyChain
from tests.agent.asking import ask
from tests.agent.native_asking import BY_NAME
from tests.servers.chat_server import status

NATIVE = ["anthropic", "gemini", "bedrock", "mistral", "groq"]
MOVED = {
    "anthropic": "ANTHROPIC_BASE_URL",
    "gemini": "GOOGLE_GEMINI_BASE_URL",
    "groq": "GROQ_BASE_URL",
    "bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
}
WITHOUT = "import sys; sys.modules['pydantic_ai'] = None\n"


@pytest.mark.parametrize("name", NATIVE)
def test_with_the_extra_a_provider_is_asked_in_its_own_protocol(name):
    """At its own address a provider that has a protocol of its own is asked in it."""
    engine = open_engine(f"{name}:m", keys=KeyChain(environ={}))
    assert isinstance(engine, NativeEngine)
    assert engine.name == f"{name}:m"
    assert engine.endpoint.base_url == PROVIDERS[name].native_url


@pytest.mark.parametrize("name", ["openai", "xai", "ollama", "openrouter"])
def test_the_others_are_asked_as_ever(name):
    """The extra changes nothing for providers without a protocol of their own."""
    assert isinstance(open_engine(f"{name}:m", keys=KeyChain(environ={})), ProtocolEngine)


@pytest.mark.parametrize("name", ["anthropic", "gemini", "mistral", "groq"])
def test_an_address_that_is_given_speaks_chat_completions(name):
    """A base_url means a Chat Completions server, with the extra as without it; also the provider's own one."""
    for url in ("http://127.0.0.1:1/v1", PROVIDERS[name].base_url):
        engine = open_engine(f"{name}:m", base_url=url, keys=KeyChain(environ={}))
        assert isinstance(engine, ProtocolEngine)
        assert engine.protocol == "chat"
        chosen = choose_model(explicit=f"{name}:m", base_url=url, environ={})
        assert chosen.base_url == url


@pytest.mark.parametrize("name", MOVED)
def test_the_providers_own_variable_moves_its_own_protocol(name, native_server, monkeypatch):
    """The address that the provider's own tools are told is asked in its own protocol."""
    protocol = BY_NAME[name]
    server = native_server(protocol, protocol.speaks.answer("Hi"))
    url = f"http://127.0.0.1:{server.port}"
    monkeypatch.setenv(MOVED[name], url)
    assert endpoint_for(f"{name}:{protocol.model}", keys=KeyChain(environ={})).base_url == url
    keys = KeyChain(environ={PROVIDERS[name].key_variables[0]: "sk-of-mine"})
    chosen = choose_model(explicit=f"{name}:{protocol.model}", keys=keys)
    engine = open_engine(chosen.model, base_url=chosen.base_url or None, keys=keys)
    assert ask(engine)[-1].text == "Hi"
    assert "sk-of-mine" in str(server.requests[0].headers)


def test_offline_goes_by_the_address_that_is_asked(monkeypatch):
    """Offline a provider may be asked that its variable moved to this machine, and no other."""
    here = {"ANTHROPIC_BASE_URL": "http://127.0.0.1:1"}
    chosen = choose_model(session="anthropic:m", offline=True, environ=here)
    assert chosen.model == "anthropic:m"
    with pytest.raises(ModelUnreachable):
        choose_model(session="anthropic:m", offline=True, environ={})


def test_a_bad_address_in_the_variable(monkeypatch):
    """A variable that holds no address is told by its name."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "localhost")
    with pytest.raises(ConfigError, match="ANTHROPIC_BASE_URL"):
        open_engine("anthropic:m", keys=KeyChain(environ={}))


def test_google_is_gemini():
    """Both names mean Google's models."""
    assert parse_model("google:gemini-x").provider is PROVIDERS["gemini"]


def test_bedrock_alone_needs_a_model(tmp_path):
    """Which models can be used on Bedrock depends on the account: one has to be named."""
    with pytest.raises(UsageError, match="bedrock:NAME"):
        choose_model(explicit="bedrock", environ={})
    keys = KeyChain(environ={"AWS_BEARER_TOKEN_BEDROCK": "k"})
    assert choose_model(keys=keys, environ={}, probe=list).model == "recall"


def test_bedrock_says_what_is_missing(native_server, monkeypatch):
    """Without a region or anything to sign in with it says which, before anything is sent."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    keys = KeyChain(environ={"AWS_BEARER_TOKEN_BEDROCK": "k"})
    with pytest.raises(ConfigError, match="set AWS_REGION, for example us-east-1"):
        ask(open_engine("bedrock:m", keys=keys))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(ModelUnreachable, match="omniagent keys set bedrock"):
        ask(open_engine("bedrock:m", keys=KeyChain(environ={})))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(ConfigError, match="nobody"):
        ask(open_engine("bedrock:m", keys=KeyChain(environ={})))


def test_bedrock_says_what_of_amazons_settings_is_wrong(monkeypatch, tmp_path):
    """A region that is none, and a broken file of Amazon's tools, are told in one line before anything is sent."""
    keys = KeyChain(environ={"AWS_BEARER_TOKEN_BEDROCK": "k"})
    monkeypatch.setenv("AWS_REGION", "no where")
    with pytest.raises(ConfigError, match=r"'no where'.*; check AWS_REGION"):
        ask(open_engine("bedrock:m", keys=keys))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    (tmp_path / "config").write_text("no section = here\n")
    with pytest.raises(ConfigError, match="cannot connect to Amazon Bedrock"):
        ask(open_engine("bedrock:m", keys=keys))


def test_bedrock_lists_its_models(native_server, monkeypatch):
    """Models of the region come first, then the profiles over regions; a refusal is told like any other."""
    bedrock = BY_NAME["bedrock"]
    server = native_server(bedrock, models=["amazon.nova-pro-v1:0"])
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", f"http://127.0.0.1:{server.port}")
    assert list_models(PROVIDERS["bedrock"], api_key="k") == [
        "amazon.nova-pro-v1:0",
        "us.amazon.nova-pro-v1:0",
    ]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer k"}
    server.models_reply = status(403, "not you")
    with pytest.raises(ModelRefused, match="has no model list for this key"):
        list_models(PROVIDERS["bedrock"], api_key="k")


def test_without_the_extra_bedrock_names_it(home):
    """Bedrock has no other side: without the extra it is exit 2 with the line that installs it."""
    code = WITHOUT + "from omniagent_cli.cli import main; sys.exit(main())"
    ran = _python(code, "ask", "-m", "bedrock:m", "Hi")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "pip install 'omniagent-cli[providers]'" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_without_the_extra_the_others_are_asked_as_ever():
    """Without the extra a provider is asked through its compatible side."""
    code = WITHOUT + (
        "from omniagent_cli.agent.models.engine_factory import open_engine\n"
        "for name in ('anthropic', 'gemini', 'mistral', 'groq'):\n"
        "    engine = open_engine(f'{name}:m')\n"
        "    print(type(engine).__name__, engine.endpoint.is_default_address)\n"
    )
    assert set(_python(code).stdout.splitlines()) == {"ProtocolEngine True"}


def test_who_does_not_need_it_does_not_load_it(chat_server):
    """An answer through Chat Completions imports nothing of pydantic-ai or the providers' libraries."""
    code = (
        "import sys; from omniagent_cli.cli import main\n"
        "try: code = main()\n"
        "except SystemExit as end: code = end.code\n"
        "heavy = {'pydantic_ai', 'anthropic', 'google.genai', 'groq', 'mistralai', 'boto3'}\n"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    url = chat_server().url
    ran = _python(code, "ask", "-m", "openai:m", "Hi", OPENAI_BASE_URL=url, OPENAI_API_KEY="k")
    assert ran.stdout == "You said: Hi\n"
    assert ran.stderr.splitlines()[-1] in ("0 []", "None []")


def _python(code, *argv, **environ):
    import os

    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environ},
        check=False,
    )
