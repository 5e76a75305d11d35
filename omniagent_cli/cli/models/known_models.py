"""The remembered lists of models for one run, their refresh in the background, and shutdown warnings."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from omniagent_cli.agent.models.known_models import CachedRow, KnownModels
from omniagent_cli.agent.models.model_catalog import Offer, Source, ask_all
from omniagent_cli.agent.models.model_listing import ListedModel
from omniagent_cli.agent.models.providers import PROVIDERS, Provider, is_loopback
from omniagent_cli.complete.models import read_models, write_models
from omniagent_cli.config import Settings, state_dir
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import ConfigError, InvalidRecord
from omniagent_cli.json_format import dump, format_time, parse_time
from omniagent_cli.keys import KeyChain
from omniagent_cli.private_files import locked_directory, read_bounded, write_private
from omniagent_cli.text.sanitize import one_line

FRESH_FOR = timedelta(days=1)
"""A remembered list is not requested again before this age."""

_NOTICES_FILE = "shown-notices"
_NOTICES_AT_MOST = 1000


def known_models(settings: Settings, offers: Iterable[Offer] = ()) -> KnownModels:
    """Return the models that providers listed last, at the addresses of these settings.

    Args:
        settings: the settings.
        offers: lists that have just come in, which replace remembered ones.
    """
    new = [row for offer in offers for row in _rows(offer)]
    replaced = {row[0].partition(":")[0] for row in new}
    old = [row for row in read_models(settings.environ) if row[0].partition(":")[0] not in replaced]
    addresses = {name: configured_address(settings, name) for name in PROVIDERS}
    return KnownModels(
        [*new, *old],
        environ=settings.environ,
        base_urls={name: address for name, address in addresses.items() if address},
    )


def configured_address(settings: Settings, provider: str) -> str | None:
    """Return ``agent.base_url`` for the one provider that it belongs to; None for all others."""
    agent = settings.agent
    if not agent.base_url:
        return None
    prefix = (settings.lookup(("model",)).value or "").partition(":")[0].lower()
    home = agent.provider or (prefix if prefix in PROVIDERS else "openai")
    return agent.base_url if home == provider else None


def _rows(offer: Offer) -> list[CachedRow]:
    source, when = offer.source, format_time(utc_now())
    return [
        (f"{source.provider.name}:{model.name}", when, source.base_url, _json(model))
        for model in offer.models
    ]


def _json(model: ListedModel) -> str:
    return dump(dict(model.fields)).decode() if model.fields else ""


def remember_list(
    source: Source, models: Sequence[ListedModel], asked_at: datetime, environ: Mapping[str, str]
) -> None:
    """Write a provider's list to the cache, with the other fields of its entries."""
    write_models(
        source.provider.name,
        source.base_url,
        format_time(asked_at),
        [model.name for model in models],
        environ,
        fields={model.name: _json(model) for model in models},
    )


def refresh_in_background(
    settings: Settings, provider: Provider, keys: KeyChain
) -> threading.Thread | None:
    """Request a provider's list when the remembered one is older than a day; what comes is for the next run.

    Returns:
        The thread that does it; None when the list is fresh, or the provider has no key.
    """
    known = known_models(settings)
    address = known.address(provider)
    if not address or _is_fresh(settings, provider, address):
        return None
    key = keys.get(provider.name, provider.key_variables)
    if not key or (provider.keyless_on_loopback and is_loopback(address)):
        return None
    source = Source(provider, address, address, key)

    def refresh() -> None:
        (offer,) = ask_all([source])
        if offer.error is None and offer.models:
            remember_list(source, offer.models, utc_now(), settings.environ)

    # A daemon: a slow list must not delay the end of the program.
    thread = threading.Thread(target=refresh, name="omniagent-models", daemon=True)
    thread.start()
    return thread


def _is_fresh(settings: Settings, provider: Provider, address: str) -> bool:
    for model, when, url, _ in read_models(settings.environ):
        if url == address and model.startswith(f"{provider.name}:"):
            with suppress(InvalidRecord):
                return utc_now() - parse_time(when) < FRESH_FOR
            return False
    return False


def shutdown_warning(known: KnownModels, model: str, today: date) -> str:
    """Return a warning about a model that its provider shuts down, with a successor; empty without a known date."""
    end = known.shutdown_date(model)
    if end is None:
        return ""
    provider = PROVIDERS[model.partition(":")[0]]
    successor = f"{provider.name}:{known.preferred(provider, today)}"
    verb = "was shut down" if end <= today else "will be shut down"
    advice = f"; choose another, such as {one_line(successor)}" if successor != model else ""
    return f"{one_line(model)} {verb} on {end}{advice}"


class ShownNotices:
    """The notices that are shown once, such as a warning for a session, as hashes in a private file."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def once(self, *about: str, show: Callable[[], None]) -> None:
        """Call `show` unless it was called for the same subject before."""
        line = hashlib.sha256("\0".join(about).encode("utf-8", "replace")).hexdigest()[:32]
        if line in self._lines():
            return
        show()
        try:
            path = self._path()
            with locked_directory(path.parent):
                lines = [*self._lines(), line][-_NOTICES_AT_MOST:]
                write_private(path, "".join(f"{one}\n" for one in lines).encode())
        except (OSError, ConfigError):
            return  # a read-only home shows it each time

    def _lines(self) -> list[str]:
        try:
            return read_bounded(self._path()).decode("utf-8").splitlines()
        except (OSError, ValueError, ConfigError):
            return []

    def _path(self) -> Path:
        return state_dir(self._environ) / _NOTICES_FILE
