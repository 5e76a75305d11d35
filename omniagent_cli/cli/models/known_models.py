"""The remembered lists of models for one run, the requests for new ones, and shutdown warnings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta

from omniagent_cli.agent.models.known_models import CachedRow, KnownModels
from omniagent_cli.agent.models.model_catalog import CatalogSource, ProviderModels, list_all
from omniagent_cli.agent.models.model_listing import ListedModel
from omniagent_cli.agent.models.providers import PROVIDERS, Provider, is_loopback
from omniagent_cli.complete.models import read_models, write_models
from omniagent_cli.config.settings import Settings
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import dump, format_time, parse_time
from omniagent_cli.keys import KeyChain
from omniagent_cli.text.sanitize import one_line

FRESH_FOR = timedelta(days=1)
"""A remembered list is not requested again before this age."""

FIRST_LIST_SECONDS = 2.0
"""The maximum wait for a list, if none is remembered and a model has to be chosen."""


def known_models(
    settings: Settings,
    offers: Iterable[ProviderModels] = (),
    *,
    request: Callable[[Provider], Sequence[ListedModel]] | None = None,
) -> KnownModels:
    """Return the models that providers listed last, at the addresses of these settings.

    Args:
        settings: the settings.
        offers: lists just received, which replace remembered ones.
        request: see `KnownModels`.
    """
    new = [row for offer in offers for row in _rows(offer)]
    replaced = {row[0].partition(":")[0] for row in new}
    old = [row for row in read_models(settings.environ) if row[0].partition(":")[0] not in replaced]
    addresses = {name: configured_address(settings, name) for name in PROVIDERS}
    return KnownModels(
        [*new, *old],
        environ=settings.environ,
        base_urls={name: address for name, address in addresses.items() if address},
        request=request,
    )


def configured_address(settings: Settings, provider: str) -> str | None:
    """Return ``agent.base_url`` for the one provider that it belongs to; None for all others."""
    agent = settings.agent
    if not agent.base_url:
        return None
    prefix = (settings.lookup(("model",)).value or "").partition(":")[0].lower()
    home = agent.provider or (prefix if prefix in PROVIDERS else "openai")
    return agent.base_url if home == provider else None


def _rows(offer: ProviderModels) -> list[CachedRow]:
    source, when = offer.source, format_time(utc_now())
    return [
        (f"{source.provider.name}:{model.name}", when, source.base_url, _json(model))
        for model in offer.models
    ]


def _json(model: ListedModel) -> str:
    return dump(dict(model.fields)).decode() if model.fields else ""


def remember_list(
    source: CatalogSource,
    models: Sequence[ListedModel],
    updated_at: datetime,
    environ: Mapping[str, str],
) -> None:
    """Write a provider's list to the cache, with the other fields of its entries."""
    write_models(
        source.provider.name,
        source.base_url,
        format_time(updated_at),
        [model.name for model in models],
        environ,
        fields={model.name: _json(model) for model in models},
    )


class ModelLists:
    """The requests for model lists during one run, at most one per provider."""

    def __init__(self, settings: Settings, keys: KeyChain) -> None:
        self._settings = settings
        self._keys = keys
        self._requests: dict[str, _ListRequest] = {}

    def refresh(self, provider: Provider) -> None:
        """Request a provider's list in the background, for the next run, if the remembered one is older than a day."""
        if not _is_fresh(self._settings, provider):
            self._request(provider)

    def first(self, provider: Provider) -> Sequence[ListedModel]:
        """Request the list of a provider without a remembered one; empty if it does not arrive in time."""
        request = self._request(provider)
        return request.wait(FIRST_LIST_SECONDS) if request else ()

    def successor(self, model: str) -> str:
        """Return the next preferred model after one that its provider lists but rejects; empty if there is none.

        The rejected model is removed from the remembered list, so that the next run does not choose it again.
        """
        name, _, missing = model.partition(":")
        provider, environ = PROVIDERS[name], self._settings.environ
        known = known_models(self._settings)
        listed = known.listed(provider) or self._again(provider)
        rest = [entry for entry in listed if entry.name != missing]
        if not rest:
            return ""
        source = CatalogSource(provider, known.address(provider), "")
        remember_list(source, rest, _requested_at(self._settings, provider) or utc_now(), environ)
        known = known_models(self._settings, [ProviderModels(source, tuple(rest))])
        preferred = known.preferred(provider, utc_now().date())
        return "" if preferred == missing else f"{name}:{preferred}"

    def _again(self, provider: Provider) -> Sequence[ListedModel]:
        """Request the list again, after a failed request."""
        self._requests.pop(provider.name, None)
        return self.first(provider)

    def _request(self, provider: Provider) -> _ListRequest | None:
        """Return the request for a provider's list, which the first call sends; None without an API key."""
        if provider.name not in self._requests:
            address = known_models(self._settings).address(provider)
            key = self._keys.get(provider.name, provider.key_variables) if address else None
            if not key or (provider.keyless_on_loopback and is_loopback(address)):
                return None
            source = CatalogSource(provider, address, address, key)
            self._requests[provider.name] = _ListRequest(source, self._settings.environ)
        return self._requests[provider.name]


class _ListRequest:
    """One request for a list of models, in the background; the list is remembered when it arrives."""

    def __init__(self, source: CatalogSource, environ: Mapping[str, str]) -> None:
        self._source = source
        self._environ = environ
        self._models: Sequence[ListedModel] = ()
        # A daemon thread: a slow list must not delay the exit.
        self._thread = threading.Thread(target=self._run, name="omniagent-models", daemon=True)
        self._thread.start()

    def wait(self, seconds: float) -> Sequence[ListedModel]:
        """Return the list; empty if it does not arrive within this time, or the request fails."""
        self._thread.join(seconds)
        return self._models

    def _run(self) -> None:
        (offer,) = list_all([self._source])
        if offer.error is None and offer.models:
            remember_list(self._source, offer.models, utc_now(), self._environ)
            self._models = offer.models


def _requested_at(settings: Settings, provider: Provider) -> datetime | None:
    """Return the time of a provider's remembered list at its present address."""
    address = known_models(settings).address(provider)
    for model, when, url, _ in read_models(settings.environ):
        if url == address and model.startswith(f"{provider.name}:"):
            with suppress(InvalidRecord):
                return parse_time(when)
            return None
    return None


def _is_fresh(settings: Settings, provider: Provider) -> bool:
    updated_at = _requested_at(settings, provider)
    return updated_at is not None and utc_now() - updated_at < FRESH_FOR


def shutdown_warning(known: KnownModels, model: str, today: date) -> str:
    """Return a warning about a model that its provider shuts down, with a successor; empty without a known date."""
    end = known.shutdown_date(model)
    if end is None:
        return ""
    provider = PROVIDERS[model.partition(":")[0]]
    successor = f"{provider.name}:{known.preferred(provider, today)}"
    verb = "was shut down" if end <= today else "will be shut down"
    example = f", such as {one_line(successor)}" if successor != model else ""
    return f"{one_line(model)} {verb} on {end}; choose another with -m or /model{example}"
