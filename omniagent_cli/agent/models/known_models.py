"""Models known without a request: the remembered lists of providers, and the preferences for each provider."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from fnmatch import fnmatchcase

from omniagent_cli.agent.models.model_listing import ListedModel, listing_url
from omniagent_cli.agent.models.providers import (
    ALIASES,
    PROVIDERS,
    RECALL,
    Provider,
    invalid_model,
    quoted_model,
)
from omniagent_cli.errors import ConfigError

CachedRow = tuple[str, str, str, str]
"""Model as ``provider:name``, time of the request (RFC 3339), base URL of the list, other fields as JSON."""


class KnownModels:
    """The models that providers listed last, and those that are preferred.

    Args:
        rows: the remembered lists, see `CachedRow`.
        environ: the environment variables, for addresses of providers.
        base_urls: configured addresses by provider name.
        request: returns the list of a provider that has none remembered, for a choice; empty when it does not come.
    """

    def __init__(
        self,
        rows: Iterable[CachedRow] = (),
        *,
        environ: Mapping[str, str],
        base_urls: Mapping[str, str] | None = None,
        request: Callable[[Provider], Sequence[ListedModel]] | None = None,
    ) -> None:
        self._rows = tuple(rows)
        self._environ = environ
        self._base_urls = base_urls or {}
        self._request = request
        self._dates: dict[str, dict[str, date | None]] = {}

    def listed(self, provider: Provider) -> list[ListedModel]:
        """Return the remembered list of a provider at its present address; empty when there is none."""
        prefix = f"{provider.name}:"
        address = self.address(provider)
        return [
            ListedModel(row[0].removeprefix(prefix), _fields(row[3]))
            for row in self._rows
            if row[2] == address and row[0].startswith(prefix)
        ]

    def address(self, provider: Provider) -> str:
        """Return the base URL of a provider's list; empty when the configured one is wrong."""
        try:
            return listing_url(provider, self._base_urls.get(provider.name), self._environ)
        except ConfigError:
            return ""

    def preferred(self, provider: Provider, today: date) -> str:
        """Return the default model of a provider.

        The first preference that the provider lists and will not shut down, else one not shut down yet. Without a
        list, or when nothing preferred is in it, the first preference. A server at another address than the
        provider's own has models of its own: then its first one.
        """
        listed: Sequence[ListedModel] = self.listed(provider)
        if not listed and self._request is not None and provider.preferences:
            listed = self._request(provider)
        if not provider.preferences or not listed:
            return provider.default_model
        dates = {model.name: model.shutdown_date for model in listed}
        wanted = [name for pattern in provider.preferences for name in _matching(pattern, dates)]
        lasting = (name for name in wanted if dates[name] is None)
        running = (name for name in wanted if (end := dates[name]) and end > today)
        chosen = next(lasting, "") or next(running, "")
        if not chosen and self.address(provider) != provider.base_url:
            chosen = next((name for name in dates if "embed" not in name.lower()), "")
        return chosen or provider.default_model

    def shutdown_date(self, model: str) -> date | None:
        """Return the announced shutdown date of ``provider:name``; None when none is known."""
        name, _, rest = model.partition(":")
        provider = PROVIDERS.get(name)
        if provider is None:
            return None
        if name not in self._dates:
            self._dates[name] = {entry.name: entry.shutdown_date for entry in self.listed(provider)}
        return self._dates[name].get(rest)

    def is_listed(self, model: str) -> bool | None:
        """Return True if the provider of ``provider:name`` lists it; None when its list is unknown."""
        name, _, rest = model.partition(":")
        listed = {entry.name for entry in self.listed(PROVIDERS[name])} if name in PROVIDERS else ()
        return (rest in listed or f"{rest}:latest" in listed) if listed else None

    def names(self) -> list[str]:
        """Return every known ``provider:name``."""
        preferences = [
            f"{provider.name}:{name}"
            for provider in PROVIDERS.values()
            for name in provider.preferences
            if not _is_pattern(name)
        ]
        return list(dict.fromkeys([*(row[0] for row in self._rows), *preferences]))

    def qualify(self, text: str, *, origin: str = "", local: Iterable[str] = ()) -> str:
        """Return ``provider:name`` for a model named without its provider; any other text is returned unchanged.

        Args:
            text: as the user wrote it.
            origin: where it was set, for the message; empty for the command line.
            local: names of models on local servers, as ``provider:name``.

        Raises:
            UsageError: several providers have the model, or none has it. A `ConfigError` when `origin` is given.
        """
        name = text.strip()
        known = [*self.names(), *local]
        found = [one for one in dict.fromkeys(known) if _model_of(one) in (name, f"{name}:latest")]
        found = found or self._preferring(name)
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise invalid_model(
                f"several providers have the model {quoted_model(name)}: {', '.join(found)}; choose one",
                origin,
            )
        if ":" in name:
            return text
        close = get_close_matches(name, [_model_of(one) for one in known], n=3)
        meant = [one for one in dict.fromkeys(known) if _model_of(one) in close]
        meant += get_close_matches(name.lower(), [*PROVIDERS, *ALIASES], n=3, cutoff=0.7)
        hint = (
            f"did you mean {' or '.join(meant[:4])}?"
            if meant
            else "write provider:name, for example openai:gpt-6.1-sol, or run `omniagent models list`"
        )
        raise invalid_model(f"unknown model {quoted_model(name)}; {hint}", origin)

    def _preferring(self, name: str) -> list[str]:
        """Return ``provider:name`` of the providers without a known list whose preferences match a name."""
        return [
            f"{provider.name}:{name}"
            for provider in PROVIDERS.values()
            if any(fnmatchcase(name, pattern) for pattern in provider.preferences)
            and not self.listed(provider)
        ]


def qualified(model: str, *, base_url: str | None = None) -> str:
    """Return ``provider:name`` for a model named by a program, without any request; see `KnownModels.qualify`.

    A name alone belongs to `base_url`, if given, whose protocol is OpenAI's.
    """
    if not is_bare(model):
        return model
    if base_url and ":" not in model:
        return f"openai:{model.strip()}"
    return KnownModels(environ=os.environ).qualify(model)


def is_bare(text: str) -> bool:
    """Return True for a model name without a provider."""
    first = text.strip().partition(":")[0].lower()
    return bool(first) and first != RECALL and first not in PROVIDERS and first not in ALIASES


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    """Return the names that a preference matches, the newest version first."""
    found = [name for name in names if fnmatchcase(name, pattern)]
    return sorted(found, key=_version, reverse=True)


def _version(name: str) -> tuple[list[int], int]:
    """Return the sort key of a name: its version numbers; of equal versions the shorter name, an alias, is the newer one."""
    return [int(number) for number in re.findall(r"\d+", name)], -len(name)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _model_of(name: str) -> str:
    return name.partition(":")[2]


def _fields(text: str) -> Mapping[str, object]:
    try:
        fields = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
