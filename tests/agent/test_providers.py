"""The table of providers and the names of models."""

from __future__ import annotations

import pytest

from omniagent_cli.agent.agent import Agent
from omniagent_cli.agent.models.providers import (
    ALIASES,
    PROVIDERS,
    Endpoint,
    base_url_for,
    check_base_url,
    is_loopback,
    parse_model,
)
from omniagent_cli.errors import ConfigError, UsageError
from omniagent_cli.keys import KeyChain


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("openai:gpt-6.1-sol", "openai:gpt-6.1-sol"),
        (" OpenAI:gpt-6.1-sol ", "openai:gpt-6.1-sol"),
        ("ollama:llama3:8b", "ollama:llama3:8b"),
        ("openrouter:anthropic/claude:beta", "openrouter:anthropic/claude:beta"),
        ("google:gemini-3.8-flash", "gemini:gemini-3.8-flash"),
        ("openai", "openai:gpt-6.1-sol"),
        ("openai:", "openai:gpt-6.1-sol"),
        ("ollama", "ollama"),
    ],
)
def test_a_model_is_provider_and_name(text, name):
    """The first colon parts them, aliases and case do not matter, a provider alone means its default."""
    assert str(parse_model(text)) == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opnai:gpt-6.1-sol", "unknown provider 'opnai'; did you mean openai?"),
        ("mistrl", "invalid model 'mistrl'; write provider:name, for example openai:gpt-6.1-sol; did you mean mistral?"),
        ("llama3:8b", "no provider in 'llama3:8b'; did you mean ollama:llama3:8b?"),
        ("\x1b[31m:x", f"unknown provider '\ufffd[31m'; must be one of {', '.join(PROVIDERS)}"),
    ],
)  # fmt: skip
def test_an_unknown_provider_is_told_with_the_closest(text, message):
    """What is wrong and what would be right, with nothing that drives a terminal."""
    with pytest.raises(UsageError) as told:
        parse_model(text)
    assert str(told.value) == message


def test_a_wrong_setting_names_where_it_was_set():
    """A model from the configuration is a configuration error with its origin."""
    with pytest.raises(ConfigError, match=r"^OMNIAGENT_MODEL: unknown provider 'x'"):
        parse_model("x:y", origin="OMNIAGENT_MODEL")


def test_every_row_is_usable():
    """Addresses are valid, hosted ones are https with a key and a default, local ones are loopback.

    Bedrock has none of the defaults: which of its models can be used depends on the region and the account.
    """
    for name, provider in PROVIDERS.items():
        assert provider.name == name == name.lower()
        assert check_base_url(provider.base_url, name) == provider.base_url
        assert provider.key_variables
        assert is_loopback(provider.base_url) == provider.local
        assert provider.local or provider.base_url.startswith("https://")
        assert bool(provider.default_model) == (not provider.local and name != "bedrock")
    assert set(ALIASES.values()) <= set(PROVIDERS)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0", "http://127.0.0.1:11434/v1"),
        ("0.0.0.0:5000", "http://127.0.0.1:5000/v1"),
        (":5000", "http://127.0.0.1:5000/v1"),
        ("box", "http://box:11434/v1"),
        ("http://box", "http://box:80/v1"),
        ("https://box/ollama/", "https://box:443/ollama/v1"),
        ("[::1]:5000", "http://[::1]:5000/v1"),
        ("::1", "http://[::1]:11434/v1"),
    ],
)
def test_ollama_host_is_read_as_ollama_does(host, url):
    """Scheme, port and path are optional, and the address it binds to is where to ask."""
    assert base_url_for(PROVIDERS["ollama"], environ={"OLLAMA_HOST": host}) == url


def test_where_an_address_comes_from():
    """The one given, then the provider's variable, then its own."""
    openai, environ = PROVIDERS["openai"], {"OPENAI_BASE_URL": "https://b.example/v1/"}
    assert base_url_for(openai, "http://a.example/v1/", environ=environ) == "http://a.example/v1"
    assert base_url_for(openai, environ=environ) == "https://b.example/v1"
    assert base_url_for(openai, environ={}) == "https://api.openai.com/v1"
    assert base_url_for(PROVIDERS["groq"], environ={"": "x"}) == PROVIDERS["groq"].base_url


@pytest.mark.parametrize(
    "url",
    ["", "host:80", "ftp://host", "http://", "http://h:99999", "http://h:x", "http://me:secret@h/v1", "http://h/?a=b", "http://h/a b"],
)  # fmt: skip
def test_a_useless_address_is_a_configuration_error(url):
    """What cannot be an address is refused before anything is sent, and a password in it is not repeated."""
    with pytest.raises(ConfigError, match=r"^base_url: ") as told:
        check_base_url(url, "base_url")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:1/v1", True),
        ("http://app.localhost", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:80", True),
        ("http://192.168.1.2", False),
        ("http://localhost.example.com", False),
        ("http://127.0.0.1.example.com", False),
    ],
)
def test_what_is_this_machine(url, local):
    """Only addresses that cannot lead elsewhere are loopback."""
    assert is_loopback(url) is local


def test_an_endpoint_does_not_show_its_key():
    """A key is in no text form."""
    assert "sk-1" not in repr(Endpoint(PROVIDERS["openai"], "m", "https://x", "sk-1"))


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("gpt-6.1-sol", "openai:gpt-6.1-sol"),
        ("gpt-6.2-sol", "openai:gpt-6.2-sol"),
        ("claude-sonnet-5-5", "anthropic:claude-sonnet-5-5"),
        ("openai/gpt-oss-120b", "groq:openai/gpt-oss-120b"),
    ],
)
def test_an_agent_takes_the_name_of_a_model_alone(name, model):
    """A name that the preferences of one provider have or match is that provider's model; nothing is requested."""
    with Agent(model=name, keys=KeyChain(environ={}, use_keyring=False)) as agent:
        assert agent.engine.name == model


def test_a_name_alone_belongs_to_the_address_that_is_given():
    """With base_url a name alone is a model of that server."""
    keys = KeyChain(environ={}, use_keyring=False)
    with Agent(model="my-model", base_url="http://127.0.0.1:9/v1", keys=keys) as agent:
        assert agent.engine.name == "openai:my-model"


def test_an_unknown_name_alone_lists_candidates():
    """A name that no provider is known to have is an error with the models that are close to it."""
    with pytest.raises(
        UsageError, match=r"unknown model 'gpt-6.1-sun'; did you mean openai:gpt-6.1-sol"
    ):
        Agent(model="gpt-6.1-sun")
