"""What providers offer, asked for or remembered: the rows of `omniagent models list`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property

from omniagent_cli.agent.models.discovery import LocalServer, probe_local_servers
from omniagent_cli.agent.models.model_catalog import Offer, Source, ask_all
from omniagent_cli.agent.models.model_listing import ListedModel, listing_url
from omniagent_cli.agent.models.providers import (
    PROVIDERS,
    Provider,
    is_loopback,
    native_url_for,
)
from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.models.commands import Row
from omniagent_cli.cli.models.known_models import (
    configured_address,
    known_models,
    remember_list,
    shutdown_warning,
)
from omniagent_cli.complete.models import read_models
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import InvalidRecord, ModelRefused
from omniagent_cli.json_format import parse_time


class Asking:
    """Asks providers for their models, each at most once a day.

    Args:
        context: this run.
        offline: ask nobody but this machine.
        refresh: ask again who was asked lately.
        known_for: how long what was learned holds.
    """

    def __init__(
        self, context: Context, *, offline: bool, refresh: bool, known_for: timedelta
    ) -> None:
        self._context = context
        self._offline = offline
        self._refresh = refresh
        self._known_for = known_for
        self._now = utc_now()
        self._remembered = read_models(context.environ)

    @cached_property
    def servers(self) -> list[LocalServer]:
        """The servers that answer on this machine now."""
        return probe_local_servers(environ=self._context.environ)

    def everything(self) -> list[Row]:
        """Return what everybody offers who can be used; who fails is told in a line."""
        sources = self.sources()
        rows = {source.provider.name: self._known(source) for source in sources}
        missing = [source for source in sources if not rows[source.provider.name]]
        to_ask = [source for source in missing if self._may_ask(source)]
        for source in missing:
            rows[source.provider.name] = self._fallback(source)
        for offer in ask_all(to_ask):
            if offer.error:
                self._context.terminal.warn(str(offer.error))
            else:
                rows[offer.source.provider.name] = self._learned(offer)
        there = {source.base_url for source in sources}
        local = [self._local(server) for server in self.servers if server.base_url not in there]
        return [row for group in (*rows.values(), *local) for row in group]

    def sources(self) -> list[Source]:
        """Return who can be asked: those with a key, or with an address of their own in the settings."""
        return [source for row in PROVIDERS.values() if (source := self._usable(row))]

    def of_provider(self, provider: Provider) -> list[Row]:
        """Return what one provider offers.

        Raises:
            ModelError: it did not say.
        """
        source = self._source(provider)
        if known := self._known(source):
            return known
        if not self._may_ask(source):
            if earlier := self._earlier(source):
                return earlier
            raise ModelRefused(
                f"{provider.title} is not on this machine, and offline was asked for; "
                "nothing is remembered of what it offers"
            )
        (offer,) = ask_all([source])
        if offer.error:
            raise offer.error
        return self._learned(offer)

    def with_shutdown_dates(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows with the shutdown dates that their providers announced."""
        known = known_models(self._context.settings)
        return [row._replace(shutdown_date=known.shutdown_date(row.model)) for row in rows]

    def shutdown_warning(self, model: str) -> str:
        """Return a warning that a model is about to be shut down; empty when no date is known."""
        return shutdown_warning(known_models(self._context.settings), model, self._now.date())

    def native(self, rows: Iterable[Row]) -> list[str]:
        """Return which of the providers in these rows are asked in their own protocols, by their names for people."""
        named = dict.fromkeys(row.model.partition(":")[0] for row in rows)
        found = [PROVIDERS[name] for name in named if name in PROVIDERS]
        environ = self._context.environ
        return [
            provider.title
            for provider in found
            if native_url_for(provider, self._settings_url(provider), environ=environ)
        ]

    def _usable(self, provider: Provider) -> Source | None:
        """Return the source of a provider that has a key, or an address of its own in the settings."""
        source = self._source(provider)
        moved = self._settings_url(provider)
        return source if moved or (source.api_key and not provider.local) else None

    def _source(self, provider: Provider) -> Source:
        context = self._context
        address = listing_url(provider, self._settings_url(provider), context.environ)
        key = context.keys.find(provider.name, provider.key_variables)
        if key is None or (provider.keyless_on_loopback and is_loopback(address)):
            return Source(provider, address, address)
        return Source(provider, address, key.origin, key.value)

    def _settings_url(self, provider: Provider) -> str | None:
        return configured_address(self._context.settings, provider.name)

    def _may_ask(self, source: Source) -> bool:
        return not self._offline or is_loopback(source.base_url)

    def _known(self, source: Source) -> list[Row]:
        """Return what is remembered and still holds."""
        rows = [] if self._refresh else self._earlier(source)
        fresh = rows and rows[0].asked_at and self._now - rows[0].asked_at < self._known_for
        return rows if fresh else []

    def _earlier(self, source: Source) -> list[Row]:
        prefix = f"{source.provider.name}:"
        return [
            Row(model, source.origin, asked_at)
            for model, when, address, _ in self._remembered
            if model.startswith(prefix)
            and address == source.base_url
            and (asked_at := _moment(when))
        ]

    def _fallback(self, source: Source) -> list[Row]:
        """Return what stands for a list that does not come: an older one, or the provider's usual model."""
        usual = source.provider.default_model
        own = [Row(f"{source.provider.name}:{usual}", source.origin)] if usual else []
        return self._earlier(source) or own

    def _learned(self, offer: Offer) -> list[Row]:
        source = offer.source
        remember_list(source, offer.models, self._now, self._context.environ)
        return [
            Row(f"{source.provider.name}:{model.name}", source.origin, self._now)
            for model in offer.models
        ]

    def _local(self, server: LocalServer) -> list[Row]:
        source = Source(server.provider, server.base_url, server.base_url)
        models = tuple(ListedModel(name) for name in server.models)
        return self._learned(Offer(source, models))


def _moment(text: str) -> datetime | None:
    try:
        return parse_time(text)
    except InvalidRecord:
        return None
