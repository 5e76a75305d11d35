"""Which model answers when none was named: keys that are set, servers that run here, else the built-in one."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from omniagent_cli.agent.models.known_models import KnownModels
from omniagent_cli.agent.models.model_listing import (
    LISTING_BYTES,
    USER_AGENT,
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
"""The provider whose protocol a server speaks of which only the address is known."""


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server of models that answers on this machine; `models` in its own order."""

    provider: Provider
    base_url: str
    models: tuple[str, ...]

    @property
    def first_model(self) -> str:
        """The first model that can chat, as far as names tell; empty if there is none."""
        return next((name for name in self.models if "embed" not in name.lower()), "")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which model will answer, and why.

    Attributes:
        model: ``provider:name`` or ``recall``.
        reason: in words, to follow "because" or stand in brackets.
        automatic: nobody named it, so it is told to the person.
        base_url: where, when that is not the provider's own address.
        send_key: False for a server that was found by itself.
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
        """Whether its server was found by itself; the person is asked before its first use."""
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
) -> Choice:
    """Choose who answers; the first of these that there is.

    The model named for this call, the session's, the configured one, the first of the configured server, a provider
    whose key is set, a local server that answers, and `recall`, which always works.

    Args:
        explicit: from the command line or the caller.
        session: the model that answered in the session before; kept to, whatever happens.
        configured: from a variable or a file.
        configured_from: which one, for reasons and errors.
        base_url: the address that goes with a named model, whichever of the three it is; without one, its server's
            first model answers, and nobody else is asked.
        keys: where keys are.
        offline: only this machine; a configured model elsewhere is passed over.
        environ: for the variables of providers' addresses.
        probe: what finds local servers.
        known: the models that providers listed last; without it, the first preference of a provider is used.

    Raises:
        UsageError: a model is not written ``provider:name``, or is explicitly elsewhere while offline.
        ModelUnreachable: the session's model is elsewhere while offline.
    """
    environ = os.environ if environ is None else environ
    keys = keys or KeyChain(environ=environ)
    known = known or KnownModels(environ=environ)
    named = _Named(base_url, keys, environ, known, offline=offline)
    note = ""
    if explicit:
        return named.explicit(explicit)
    if session:
        if choice := named.session(session):
            return choice
        note = f"; the session's model, {one_line(session)}, is of no provider known here"
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


class _Named:
    """Turns a model that somebody named into a choice."""

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

    def explicit(self, text: str) -> Choice:
        choice = self._choice(text, "it was named", "")
        if choice is None:
            raise UsageError(f"{one_line(text)} is not on this machine, and offline was asked for")
        return choice

    def session(self, text: str) -> Choice | None:
        """Return None for what other programs call their models, as imported sessions have it."""
        try:
            choice = self._choice(text, "the session goes on with its model", "")
        except ConfigError:
            raise
        except UsageError:
            return None
        if choice is None:
            raise ModelUnreachable(
                f"the session's model, {one_line(text)}, is not on this machine, and offline was asked for; "
                "name another model for this turn"
            )
        return choice

    def configured(self, text: str, origin: str) -> Choice | None:
        return self._choice(text, f"{origin} names it", origin)

    def addressed(self, base_url: str) -> Choice | None:
        """Choose the first model of a server whose address alone is known: a question must go nowhere else."""
        choice = self._choice(_COMPATIBLE, f"base_url is {one_line(base_url)}", "")
        return replace(choice, automatic=True) if choice else None

    def _choice(self, text: str, reason: str, origin: str) -> Choice | None:
        if text.strip().lower() == RECALL:
            return Choice(RECALL, reason)
        name = parse_model(text, origin=origin)
        provider, given = name.provider, self._base_url
        native = native_url_for(provider, given, environ=self._environ)
        address = native or base_url_for(provider, given, environ=self._environ)
        if self._offline and not is_loopback(address):
            return None
        moved = address != (provider.native_url if native else provider.base_url)
        # Which address is given, if any, decides how such a provider is asked; a variable of its own is found again.
        kept = bool(given) if provider.native_url else moved
        model = name.model
        if not model and not provider.openai_compatible:
            text = f"name a model too, such as {provider.name}:NAME"
            raise ConfigError(f"{origin}: {text}") if origin else UsageError(text)
        if not model or (moved and ":" not in text):  # a server of one's own has models of its own
            model = self._first_model(provider, address)
        elif not text.partition(":")[2].strip():
            model = self._known.preferred(provider, utc_now().date())
        return Choice(f"{provider.name}:{model}", reason, base_url=address if kept else "")

    def _first_model(self, provider: Provider, address: str) -> str:
        key = self._keys.get(provider.name, provider.key_variables) or ""
        models = list_models(provider, base_url=address, api_key=key)
        first = LocalServer(provider, address, tuple(models)).first_model
        if not first:
            raise ModelRefused(f"{provider.title} at {address} has no model yet; fetch one first")
        return first


def _by_key(
    keys: KeyChain, environ: Mapping[str, str], known: KnownModels, *, offline: bool
) -> Choice | None:
    """Choose a provider by its key: variables of all first, for the keyring is slow to ask."""
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
                return Choice(f"{provider.name}:{model}", reason, base_url=other)
    return None


def _by_server(probe: Probe) -> Choice | None:
    for server in probe():
        if model := server.first_model:
            reason = f"{server.provider.title} answers at {server.base_url}"
            return Choice(
                f"{server.provider.name}:{model}", reason, base_url=server.base_url, send_key=False
            )
    return None


def _recall(*, offline: bool) -> Choice:
    return Choice(RECALL, "offline mode and no local server found" if offline else _NOTHING_FOUND)


def probe_local_servers(
    candidates: Sequence[tuple[Provider, str]] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    timeout_seconds: float = PROBE_SECONDS,
) -> list[LocalServer]:
    """Ask the usual addresses on this machine for their models, all at once, without any key.

    Args:
        candidates: other (provider, base URL) pairs than the usual ones; what is not loopback is not asked.
        environ: for OLLAMA_HOST.
        timeout_seconds: for all of them together.

    Returns:
        The servers that answered as such, in the order of the candidates.
    """
    wanted = _usual_addresses(environ) if candidates is None else candidates
    wanted = [(provider, url) for provider, url in wanted if is_loopback(url)]
    found: dict[int, LocalServer] = {}
    deadline = time.monotonic() + timeout_seconds

    def ask(number: int, provider: Provider, url: str) -> None:
        models = _ask_briefly(url, timeout_seconds)
        if models is not None:
            found[number] = LocalServer(provider, url, models)

    # Daemons: a server that drips its answer must hold up neither us nor the end of the program.
    threads = [
        threading.Thread(target=ask, args=(number, *pair), daemon=True)
        for number, pair in enumerate(wanted)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [server for _, server in sorted(found.copy().items())]


def _usual_addresses(environ: Mapping[str, str] | None) -> list[tuple[Provider, str]]:
    usual = []
    for provider in PROVIDERS.values():
        if provider.local:
            try:
                usual.append((provider, base_url_for(provider, environ=environ)))
            except ConfigError:
                continue  # nobody named this provider: a bad OLLAMA_HOST is told when somebody does
    return usual


def _ask_briefly(url: str, timeout_seconds: float) -> tuple[str, ...] | None:
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
        return None  # nothing there, or another program's port
    finally:
        connection.close()
