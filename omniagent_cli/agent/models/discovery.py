"""The choice of the model when none was named: a provider with a key, a local server, or the built-in one."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from omniagent_cli.agent.models.known_models import KnownModels
from omniagent_cli.agent.models.model_listing import (
    LISTING_BYTES,
    USER_AGENT,
    in_parallel,
    list_models,
    listed_models,
)
from omniagent_cli.agent.models.providers import (
    PROVIDERS,
    RECALL,
    Provider,
    base_url_for,
    is_loopback,
    native_url_for,
    parse_model,
)
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import ConfigError, ModelRefused, ModelUnreachable, UsageError
from omniagent_cli.keys import KeyChain
from omniagent_cli.text.sanitize import one_line

PROBE_SECONDS = 0.25
_NOTHING_FOUND = "no API key or local server found"
_COMPATIBLE = "openai"
"""The provider whose protocol is used for a server of which only the address is known."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server on this machine, with its models in its own order."""

    provider: Provider
    base_url: str
    models: tuple[str, ...]

    @property
    def first_model(self) -> str:
        """The first model whose name is not of an embedding model; empty if there is none."""
        return next((name for name in self.models if "embed" not in name.lower()), "")


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The chosen model and the reason for the choice.

    Attributes:
        model: ``provider:name`` or ``recall``.
        reason: a clause for messages, to follow "because" or in brackets.
        automatic: True if no model was named; the user is notified.
        base_url: the address, if it is not the provider's own one.
        send_key: False for a discovered server.
    """

    model: str
    reason: str
    automatic: bool = False
    base_url: str = ""
    send_key: bool = True

    @property
    def announcement(self) -> str:
        """A sentence about an automatic choice and its reason."""
        if self.model != RECALL:
            return f"Using {one_line(self.model)} because {self.reason}"
        advice = ". Set a key: omniagent keys set openai"
        return (
            f"{self.reason[:1].upper()}{self.reason[1:]}; using recall, a stand-in that only searches this session"
            f"{advice if self.reason.startswith(_NOTHING_FOUND) else ''}"
        )

    @property
    def found(self) -> bool:
        """True if the server was discovered automatically; the user confirms its first use."""
        return not self.send_key


Probe = Callable[[], Sequence[LocalServer]]


def choose_model(
    *,
    explicit: str | None = None,
    session: str | None = None,
    configured: str | None = None,
    configured_from: str = "the configuration",
    base_url: str | None = None,
    keys: KeyChain | None = None,
    offline: bool = False,
    environ: Mapping[str, str] | None = None,
    probe: Probe | None = None,
    known: KnownModels | None = None,
) -> ModelChoice:
    """Choose the model; the first of these candidates that exists.

    The model named for this call, the session's, the configured one, the first model of the configured server, a
    provider with a key, a local server that responds, and `recall`, which always works.

    Args:
        explicit: the model from the command line or the caller.
        session: the model pinned to the session.
        configured: the model from a variable or a file.
        configured_from: its source, for reasons and errors.
        base_url: the address for a named model, whichever of the three it is. Without a named model, the first
            model of the server at this address is used, and no other server is contacted.
        keys: the API keys.
        offline: use this machine only; a configured model elsewhere is skipped.
        environ: the environment variables, for addresses of providers.
        probe: the function that finds local servers.
        known: the models that providers listed last; without it, the first preference of a provider is used.

    Raises:
        UsageError: a model is not written ``provider:name``, or is explicitly remote while offline.
        ModelUnreachable: the session's model is remote while offline.
    """
    environ = os.environ if environ is None else environ
    keys = keys or KeyChain(environ=environ)
    known = known or KnownModels(environ=environ)
    named = _NamedModel(base_url, keys, environ, known, offline=offline)
    note = ""
    if explicit:
        return named.explicit(explicit)
    if session:
        if choice := named.session(session):
            return choice
        note = f"; the session's model, {one_line(session)}, has no known provider"
    if configured and (choice := named.configured(configured, configured_from)):
        return choice
    if base_url and not configured and (choice := named.addressed(base_url)):
        return choice
    choice = (
        _by_key(keys, environ, known, offline=offline)
        or _by_server(probe or (lambda: probe_local_servers(environ=environ)))
        or _recall(offline=offline)
    )
    return replace(choice, reason=choice.reason + note, automatic=True)


class _NamedModel:
    """Resolver of a named model to a choice."""

    def __init__(
        self,
        base_url: str | None,
        keys: KeyChain,
        environ: Mapping[str, str],
        known: KnownModels,
        *,
        offline: bool,
    ) -> None:
        self._base_url = base_url
        self._keys = keys
        self._environ = environ
        self._known = known
        self._offline = offline

    def explicit(self, text: str) -> ModelChoice:
        choice = self._choice(text, "set explicitly", "")
        if choice is None:
            raise UsageError(f"{one_line(text)} is not on this machine and offline mode is on")
        return choice

    def session(self, text: str) -> ModelChoice | None:
        """Return None for a model name of another program, as imported sessions have it."""
        try:
            choice = self._choice(text, "the session keeps its model", "")
        except ConfigError:
            raise
        except UsageError:
            return None
        if choice is None:
            raise ModelUnreachable(
                f"the session's model, {one_line(text)}, is not on this machine and offline mode is on; "
                "choose another model for this turn"
            )
        return choice

    def configured(self, text: str, origin: str) -> ModelChoice | None:
        return self._choice(text, f"set by {origin}", origin)

    def addressed(self, base_url: str) -> ModelChoice | None:
        """Choose the first model of the server at a configured address; messages must go nowhere else."""
        choice = self._choice(_COMPATIBLE, f"base_url is {one_line(base_url)}", "")
        return replace(choice, automatic=True) if choice else None

    def _choice(self, text: str, reason: str, origin: str) -> ModelChoice | None:
        if text.strip().lower() == RECALL:
            return ModelChoice(RECALL, reason)
        name = parse_model(text, origin=origin)
        provider, given = name.provider, self._base_url
        native = native_url_for(provider, given, environ=self._environ)
        address = native or base_url_for(provider, given, environ=self._environ)
        if self._offline and not is_loopback(address):
            return None
        moved = address != (provider.native_url if native else provider.base_url)
        # A given address decides the protocol of such a provider; its own variable is read again later.
        kept = bool(given) if provider.native_url else moved
        model = name.model
        if not model and not provider.openai_compatible:
            text = f"missing model name; write {provider.name}:NAME"
            raise ConfigError(f"{origin}: {text}") if origin else UsageError(text)
        if not model or (moved and ":" not in text):  # such a server has its own models
            model = self._first_model(provider, address)
        elif not text.partition(":")[2].strip():
            model = self._known.preferred(provider, utc_now().date())
        return ModelChoice(f"{provider.name}:{model}", reason, base_url=address if kept else "")

    def _first_model(self, provider: Provider, address: str) -> str:
        key = self._keys.get(provider.name, provider.key_variables) or ""
        models = list_models(provider, base_url=address, api_key=key)
        first = LocalServer(provider, address, tuple(models)).first_model
        if not first:
            raise ModelRefused(f"{provider.title} at {address} has no models; pull one first")
        return first


def _by_key(
    keys: KeyChain, environ: Mapping[str, str], known: KnownModels, *, offline: bool
) -> ModelChoice | None:
    """Choose a provider by its key: environment variables of all providers first, because the keyring is slow."""
    if offline:
        return None
    hosted = [provider for provider in PROVIDERS.values() if provider.preferences]
    for find in (keys.find_in_environment, keys.find):
        for provider in hosted:
            if key := find(provider.name, provider.key_variables):
                address = base_url_for(provider, environ=environ)
                other = "" if address == provider.base_url else address
                reason = f"{key.origin} is set"
                if key.where != "environment":
                    reason = f"an API key for {provider.title} is set ({key.origin})"
                model = known.preferred(provider, utc_now().date())
                return ModelChoice(f"{provider.name}:{model}", reason, base_url=other)
    return None


def _by_server(probe: Probe) -> ModelChoice | None:
    for server in probe():
        if model := server.first_model:
            reason = f"{server.provider.title} is running at {server.base_url}"
            return ModelChoice(
                f"{server.provider.name}:{model}", reason, base_url=server.base_url, send_key=False
            )
    return None


def _recall(*, offline: bool) -> ModelChoice:
    return ModelChoice(
        RECALL, "offline mode and no local server found" if offline else _NOTHING_FOUND
    )


def probe_local_servers(
    candidates: Sequence[tuple[Provider, str]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    timeout_seconds: float = PROBE_SECONDS,
) -> list[LocalServer]:
    """Request the model lists of the usual addresses on this machine, in parallel, without a key.

    Args:
        candidates: (provider, base URL) pairs instead of the usual ones; addresses other than loopback are skipped.
        environ: the environment variables, for OLLAMA_HOST.
        timeout_seconds: the limit for all of them together.

    Returns:
        The servers that responded, in the order of the candidates.
    """
    addresses = _usual_addresses(environ) if candidates is None else candidates
    addresses = [(provider, url) for provider, url in addresses if is_loopback(url)]
    found = in_parallel(
        lambda address: _request_models(address[1], timeout_seconds), addresses, timeout_seconds
    )
    return [
        LocalServer(*addresses[number], models)
        for number, models in sorted(found.items())
        if models is not None
    ]


def _usual_addresses(environ: Mapping[str, str] | None) -> list[tuple[Provider, str]]:
    usual = []
    for provider in PROVIDERS.values():
        if provider.local:
            try:
                usual.append((provider, base_url_for(provider, environ=environ)))
            except ConfigError:
                continue  # a bad OLLAMA_HOST is reported when the provider is named
    return usual


def _request_models(url: str, timeout_seconds: float) -> tuple[str, ...] | None:
    parts = urlsplit(url)
    if parts.scheme != "http":
        return None
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port, timeout=timeout_seconds
    )
    try:
        connection.request("GET", f"{parts.path}/models", headers={"User-Agent": USER_AGENT})
        response = connection.getresponse()
        body = response.read(LISTING_BYTES) if response.status == 200 else b""
        listed = listed_models(json.loads(body))
        return None if listed is None else tuple(model.name for model in listed)
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None  # nothing listens there, or another program does
    finally:
        connection.close()
