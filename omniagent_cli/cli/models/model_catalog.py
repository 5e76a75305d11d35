"""The rows of `omniagent models list`, from requests and remembered lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property

from omniagent_cli.agent.models.discovery import LocalServer, probe_local_servers
from omniagent_cli.agent.models.model_catalog import CatalogSource, ProviderModels, list_all
from omniagent_cli.agent.models.model_listing import ListedModel, listing_url
from omniagent_cli.agent.models.providers import (
    PROVIDERS,
    Provider,
    is_loopback,
    native_url_for,
)
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.models.known_models import (
    configured_address,
    known_models,
    remember_list,
    shutdown_warning,
)
from omniagent_cli.cli.models.model_row import ModelRow
from omniagent_cli.complete.models import read_models
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import InvalidRecord, ModelRefused
from omniagent_cli.json_format import parse_time


class ModelCatalog:
    """The models of all usable providers; each list is requested at most once a day.

    Args:
        context: the context of the command.
        offline: request only lists on this machine.
        refresh: ignore remembered lists.
        max_age: the age at which a remembered list is requested again.
    """

    def __init__(
        self, context: Context, *, offline: bool, refresh: bool, max_age: timedelta
    ) -> None:
        self._context = context
        self._offline = offline
        self._refresh = refresh
        self._known_for = max_age
        self._now = utc_now()
        self._remembered = read_models(context.environ)

    @cached_property
    def servers(self) -> list[LocalServer]:
        """The servers running on this machine."""
        return probe_local_servers(environ=self._context.environ)

    def all_rows(self) -> list[ModelRow]:
        """Return the models of all usable providers; a failed request prints a warning."""
        sources = self.sources()
        rows = {source.provider.name: self._fresh_rows(source) for source in sources}
        missing = [source for source in sources if not rows[source.provider.name]]
        to_ask = [source for source in missing if self._is_allowed(source)]
        for source in missing:
            rows[source.provider.name] = self._fallback(source)
        for offer in list_all(to_ask):
            if offer.error:
                self._context.terminal.warn(str(offer.error))
            else:
                rows[offer.source.provider.name] = self._remember(offer)
        there = {source.base_url for source in sources}
        local = [
            self._local_rows(server) for server in self.servers if server.base_url not in there
        ]
        return [row for group in (*rows.values(), *local) for row in group]

    def sources(self) -> list[CatalogSource]:
        """Return the usable providers: those with an API key or an address in the settings."""
        return [source for row in PROVIDERS.values() if (source := self._usable(row))]

    def provider_rows(self, provider: Provider) -> list[ModelRow]:
        """Return the models of one provider.

        Raises:
            ModelError: the request failed.
        """
        source = self._source(provider)
        if known := self._fresh_rows(source):
            return known
        if not self._is_allowed(source):
            if earlier := self._remembered_rows(source):
                return earlier
            raise ModelRefused(
                f"{provider.title} is not on this machine and offline mode is on; "
                "no remembered list of its models"
            )
        (offer,) = list_all([source])
        if offer.error:
            raise offer.error
        return self._remember(offer)

    def with_shutdown_dates(self, rows: Iterable[ModelRow]) -> list[ModelRow]:
        """Return the rows with the shutdown dates that their providers announced."""
        known = known_models(self._context.settings)
        return [row._replace(shutdown_date=known.shutdown_date(row.model)) for row in rows]

    def shutdown_warning(self, model: str) -> str:
        """Return a warning that a model is about to be shut down; empty when no date is known."""
        return shutdown_warning(known_models(self._context.settings), model, self._now.date())

    def native_titles(self, rows: Iterable[ModelRow]) -> list[str]:
        """Return the titles of the providers in these rows that are called in their own protocols."""
        named = dict.fromkeys(row.model.partition(":")[0] for row in rows)
        found = [PROVIDERS[name] for name in named if name in PROVIDERS]
        environ = self._context.environ
        return [
            provider.title
            for provider in found
            if native_url_for(provider, self._settings_url(provider), environ=environ)
        ]

    def _usable(self, provider: Provider) -> CatalogSource | None:
        """Return the source of a provider with an API key or an address in the settings, else None."""
        source = self._source(provider)
        moved = self._settings_url(provider)
        return source if moved or (source.api_key and not provider.local) else None

    def _source(self, provider: Provider) -> CatalogSource:
        context = self._context
        address = listing_url(provider, self._settings_url(provider), context.environ)
        key = context.keys.find(provider.name, provider.key_variables)
        if key is None or (provider.keyless_on_loopback and is_loopback(address)):
            return CatalogSource(provider, address, address)
        return CatalogSource(provider, address, key.origin, key.value)

    def _settings_url(self, provider: Provider) -> str | None:
        return configured_address(self._context.settings, provider.name)

    def _is_allowed(self, source: CatalogSource) -> bool:
        return not self._offline or is_loopback(source.base_url)

    def _fresh_rows(self, source: CatalogSource) -> list[ModelRow]:
        """Return the remembered models of a provider that are not too old."""
        rows = [] if self._refresh else self._remembered_rows(source)
        fresh = rows and rows[0].updated_at and self._now - rows[0].updated_at < self._known_for
        return rows if fresh else []

    def _remembered_rows(self, source: CatalogSource) -> list[ModelRow]:
        prefix = f"{source.provider.name}:"
        return [
            ModelRow(model, source.origin, updated_at)
            for model, when, address, _ in self._remembered
            if model.startswith(prefix)
            and address == source.base_url
            and (updated_at := _parse_time(when))
        ]

    def _fallback(self, source: CatalogSource) -> list[ModelRow]:
        """Return the models to use if a request fails: an older list, or the first preference."""
        usual = source.provider.default_model
        own = [ModelRow(f"{source.provider.name}:{usual}", source.origin)] if usual else []
        return self._remembered_rows(source) or own

    def _remember(self, offer: ProviderModels) -> list[ModelRow]:
        source = offer.source
        remember_list(source, offer.models, self._now, self._context.environ)
        return [
            ModelRow(f"{source.provider.name}:{model.name}", source.origin, self._now)
            for model in offer.models
        ]

    def _local_rows(self, server: LocalServer) -> list[ModelRow]:
        source = CatalogSource(server.provider, server.base_url, server.base_url)
        models = tuple(ListedModel(name) for name in server.models)
        return self._remember(ProviderModels(source, models))


def _parse_time(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except InvalidRecord:
        return None
