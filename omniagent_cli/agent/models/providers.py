"""Providers: their addresses, keys, quirks and preferred models, and the syntax of model names."""

from __future__ import annotations

import difflib
import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import urlsplit

from omniagent_cli.errors import ConfigError, UsageError
from omniagent_cli.text.sanitize import one_line

RECALL = "recall"
"""The name of the built-in engine, written without a provider."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A service or local server that offers models.

    Attributes:
        key_variables: environment variables for the API key, in order of precedence; the first one is recommended.
        base_url_variable: the environment variable with which the provider's own tools set another address.
        preferences: a model, then further models or `fnmatch` patterns, as of December 2026; empty for local servers.
        local: it runs on this machine and needs no key. `keyless_on_loopback`: it gets no key there.
        echoes_thinking: it rejects the request after a tool call without its own thinking.
        echoes: keys of its answers to send back unchanged.
        enforces_schema: it enforces a JSON schema for every model; otherwise the schema is also sent as an instruction.
        seed_name: its name of the seed option.
        openai_compatible: it supports Chat Completions or Responses.
        native_url: the address of its own protocol (extra ``[providers]``); empty if there is none.
        native_url_variable: the environment variable that overrides `native_url` in its own tools.
        native_library: the module that `pydantic-ai` needs for it.
        caches_on_request: its own protocol caches prompts only on request.
    """

    name: str
    title: str
    base_url: str
    key_variables: tuple[str, ...]
    preferences: tuple[str, ...] = ()
    base_url_variable: str = ""
    local: bool = False
    keyless_on_loopback: bool = False
    echoes_thinking: bool = False
    echoes: tuple[str, ...] = ()
    enforces_schema: bool = True
    seed_name: str = "seed"
    openai_compatible: bool = True
    native_url: str = ""
    native_url_variable: str = ""
    native_library: str = ""
    caches_on_request: bool = False

    @property
    def default_model(self) -> str:
        """The first preference, used while the provider's list is unknown; empty without preferences."""
        return self.preferences[0] if self.preferences else ""

    @property
    def key_advice(self) -> str:
        """The advice on setting a key, as the end of a sentence."""
        return f"set one with `omniagent keys set {self.name}` or set {self.key_variables[0]}"


_BEDROCK = "https://bedrock-runtime.{region}.amazonaws.com"

PROVIDERS: Mapping[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            "openai",
            "OpenAI",
            "https://api.openai.com/v1",
            ("OPENAI_API_KEY",),
            ("gpt-6.1-sol", "gpt-[0-9]*-sol", "gpt-[0-9]*-terra", "gpt-[0-9]*-luna", "gpt-5.5"),
            "OPENAI_BASE_URL",
        ),
        Provider(
            "anthropic",
            "Anthropic",
            "https://api.anthropic.com/v1",
            ("ANTHROPIC_API_KEY",),
            ("claude-sonnet-5-5", "claude-sonnet-*", "claude-haiku-*", "claude-opus-*"),
            enforces_schema=False,
            native_url="https://api.anthropic.com",
            native_url_variable="ANTHROPIC_BASE_URL",
            native_library="anthropic",
            caches_on_request=True,
        ),
        Provider(
            "gemini",
            "Google Gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai",
            ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
            ("gemini-3.8-flash", "gemini-[0-9].[0-9]-flash", "gemini-[0-9]*-flash-lite"),
            echoes=("extra_content",),
            native_url="https://generativelanguage.googleapis.com",
            native_url_variable="GOOGLE_GEMINI_BASE_URL",
            native_library="google.genai",
        ),
        Provider(
            "groq",
            "Groq",
            "https://api.groq.com/openai/v1",
            ("GROQ_API_KEY",),
            ("openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/*"),
            native_url="https://api.groq.com",
            native_url_variable="GROQ_BASE_URL",
            native_library="groq",
        ),
        Provider(
            "mistral",
            "Mistral",
            "https://api.mistral.ai/v1",
            ("MISTRAL_API_KEY",),
            ("mistral-medium-latest", "mistral-large-latest", "mistral-small-latest"),
            seed_name="random_seed",
            native_url="https://api.mistral.ai",
            native_library="mistralai",
        ),
        Provider(
            "bedrock",
            "Amazon Bedrock",
            _BEDROCK.format(region="REGION"),
            ("AWS_BEARER_TOKEN_BEDROCK",),
            enforces_schema=False,
            openai_compatible=False,
            native_url=_BEDROCK.format(region="REGION"),
            native_url_variable="AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
            native_library="boto3",
        ),
        Provider(
            "openrouter",
            "OpenRouter",
            "https://openrouter.ai/api/v1",
            ("OPENROUTER_API_KEY",),
            ("openrouter/auto",),
            echoes=("reasoning_details",),
            enforces_schema=False,
        ),
        Provider(
            "deepseek",
            "DeepSeek",
            "https://api.deepseek.com/v1",
            ("DEEPSEEK_API_KEY",),
            ("deepseek-flash", "deepseek-v4-pro", "deepseek-*"),
            echoes_thinking=True,
            enforces_schema=False,
        ),
        Provider(
            "xai", "xAI", "https://api.x.ai/v1", ("XAI_API_KEY",), ("grok-4.7", "grok-[0-9].[0-9]")
        ),
        Provider(
            "together",
            "Together",
            "https://api.together.xyz/v1",
            ("TOGETHER_API_KEY",),
            ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "meta-llama/*-Instruct-Turbo"),
        ),
        Provider(
            "ollama",
            "Ollama",
            "http://127.0.0.1:11434/v1",
            ("OLLAMA_API_KEY",),
            base_url_variable="OLLAMA_HOST",
            local=True,
            keyless_on_loopback=True,
        ),
        Provider(
            "lmstudio", "LM Studio", "http://127.0.0.1:1234/v1", ("LMSTUDIO_API_KEY",), local=True
        ),
        Provider(
            "llamacpp", "llama.cpp", "http://127.0.0.1:8080/v1", ("LLAMA_API_KEY",), local=True
        ),
        Provider("vllm", "vLLM", "http://127.0.0.1:8000/v1", ("VLLM_API_KEY",), local=True),
    )
}

ALIASES: Mapping[str, str] = {
    "google": "gemini",
    "lm-studio": "lmstudio",
    "llama.cpp": "llamacpp",
    "llama-cpp": "llamacpp",
    "togetherai": "together",
    "grok": "xai",
}


@dataclass(frozen=True, slots=True)
class ModelName:
    """A provider and one of its models; `model` is empty if only a local server was named."""

    provider: Provider
    model: str

    def __str__(self) -> str:
        return f"{self.provider.name}:{self.model}" if self.model else self.provider.name


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address, model and API key of requests.

    Attributes:
        base_url: without a trailing slash, as returned by `base_url_for`.
        api_key: the API key; none is sent if it is empty.
        native: the provider's own protocol is used.
    """

    provider: Provider
    model: str
    base_url: str
    api_key: str = field(default="", repr=False)
    native: bool = False

    @property
    def is_default_address(self) -> bool:
        """True for the provider's own address."""
        own = self.provider.native_url if self.native else self.provider.base_url
        return self.base_url == own

    @property
    def needs_key(self) -> bool:
        """True if the provider rejects requests without a key: its own address on the internet."""
        return not self.provider.local and self.is_default_address


def find_provider(name: str, *, origin: str = "") -> Provider:
    """Return a provider by name or alias, ignoring case.

    Raises:
        UsageError: unknown provider; suggests the closest. A `ConfigError` when `origin` is given.
    """
    key = name.strip().lower()
    provider = PROVIDERS.get(ALIASES.get(key, key))
    if provider is None:
        raise invalid_model(f"unknown provider {quoted_model(name)}{_closest(key)}", origin)
    return provider


def parse_model(text: str, *, origin: str = "") -> ModelName:
    """Parse ``provider:name``; the name may contain colons, and a provider alone means its default model.

    Args:
        text: for example ``openai:gpt-6.1-sol``, ``ollama:llama3:8b`` or ``openai``.
        origin: the source of the text, for the message; empty for a command line.

    Raises:
        UsageError: unknown provider. A `ConfigError` when `origin` is given.
    """
    provider_name, colon, model = text.strip().partition(":")
    known = provider_name.lower() in PROVIDERS or provider_name.lower() in ALIASES
    if not colon and not known:
        advice = (
            f"write provider:name, for example openai:gpt-6.1-sol{_closest(provider_name.lower())}"
        )
        raise invalid_model(f"invalid model {quoted_model(text)}; {advice}", origin)
    if not known and _looks_local(provider_name):
        raise invalid_model(
            f"no provider in {quoted_model(text)}; did you mean ollama:{one_line(text.strip())}?",
            origin,
        )
    provider = find_provider(provider_name, origin=origin)
    return ModelName(provider, model.strip() or provider.default_model)


def base_url_for(
    provider: Provider, given: str | None = None, *, environ: Mapping[str, str] | None = None
) -> str:
    """Return the base URL of a provider without a trailing slash: the given one, its variable's, or its own.

    Raises:
        ConfigError: the address is not an http or https URL, or contains a password.
    """
    if given:
        return check_base_url(given, "base_url")
    variable = provider.base_url_variable
    value = (os.environ if environ is None else environ).get(variable, "").strip()
    if not variable or not value:
        return provider.base_url
    return check_base_url(_ollama_url(value) if provider.name == "ollama" else value, variable)


def native_url_for(
    provider: Provider, given: str | None = None, *, environ: Mapping[str, str] | None = None
) -> str:
    """Return the address of the provider's own protocol; empty if Chat Completions is used instead.

    With the extra ``[providers]`` the own protocol is the default, at the provider's address or that of its variable.
    A given address is that of a Chat Completions server, with or without the extra; except for Bedrock,
    which does not support that protocol.

    Raises:
        ConfigError: the address is not an http or https URL, or contains a password.
    """
    environ = os.environ if environ is None else environ
    if not provider.native_url or (
        provider.openai_compatible and (given or not native_installed(provider))
    ):
        return ""
    if given:
        return check_base_url(given, "base_url")
    variable = provider.native_url_variable
    value = environ.get(variable, "").strip() if variable else ""
    if not value:
        return provider.native_url
    return check_base_url(value, variable)


def native_installed(provider: Provider) -> bool:
    """Return True if the libraries for the provider's own protocol are installed; imports none of them."""
    try:
        return all(find_spec(name) for name in ("pydantic_ai", provider.native_library))
    except ModuleNotFoundError:  # raised for google.genai if no google package is installed
        return False


def check_base_url(url: str, origin: str) -> str:
    """Return the URL without a trailing slash.

    Raises:
        ConfigError: not an http or https URL with a host, or it contains a user or password.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        port_is_fine = False
    if not port_is_fine or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{origin}: invalid server address; write it like http://127.0.0.1:8080/v1"
        )
    if "@" in parts.netloc:
        raise ConfigError(
            f"{origin}: the address must not contain a user or password; set a key with the provider's variable"
        )
    if parts.query or parts.fragment or not url.isprintable() or " " in url:
        raise ConfigError(f"{origin}: the address must not contain ?, # or spaces")
    return url.rstrip("/")


def is_loopback(url: str) -> bool:
    """Return True if a URL can only lead to this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _ollama_url(value: str) -> str:
    """Parse OLLAMA_HOST as Ollama does: scheme, port and path are optional, and it is often the bind address."""
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    host, slash, path = rest.partition("/")
    default_port = (
        {"http": "80", "https": "443"}[scheme]
        if separator and scheme in ("http", "https")
        else "11434"
    )
    if host.count(":") > 1 and not host.startswith("["):
        host = f"[{host}]"
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, default_port
    if name in ("", "0.0.0.0", "[::]"):  # noqa: S104  # read, not bound: a client cannot connect there everywhere
        name = "127.0.0.1"
    return f"{scheme}://{name}:{port or default_port}{slash}{path}".rstrip("/") + "/v1"


def _looks_local(name: str) -> bool:
    """Return True for a model family, such as ``llama3`` in ``llama3:8b``."""
    return name[-1:].isdigit()


def _closest(name: str) -> str:
    names = [*PROVIDERS, *ALIASES]
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; must be one of {', '.join(PROVIDERS)}"


def quoted_model(text: str) -> str:
    """Return the name of a model in quotes, for a message."""
    return f"'{one_line(text.strip()[:80])}'"


def invalid_model(message: str, origin: str) -> UsageError:
    """Return the error for a model that was set at `origin`, which is empty for the command line."""
    return ConfigError(f"{origin}: {message}") if origin else UsageError(message)
