"""The model lists of several providers, requested in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from omniagent_cli.agent.models.model_listing import ListedModel, in_parallel, list_entries
from omniagent_cli.agent.models.providers import Provider
from omniagent_cli.errors import ModelUnreachable, OmniAgentError

LIST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class CatalogSource:
    """A provider to request a list from: its address and key.

    Attributes:
        origin: the source of its key, or its address.
    """

    provider: Provider
    base_url: str
    origin: str
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ProviderModels:
    """The models of one provider, or the error of the request."""

    source: CatalogSource
    models: tuple[ListedModel, ...] = ()
    error: OmniAgentError | None = None


def list_all(
    sources: Sequence[CatalogSource], *, timeout_seconds: float = LIST_SECONDS
) -> list[ProviderModels]:
    """Request all lists in parallel; a slow or failing provider does not delay the others.

    Returns:
        The result for each source, in their order.
    """
    found = in_parallel(lambda source: _request(source, timeout_seconds), sources, timeout_seconds)
    return [
        found.get(number) or _timed_out(source, timeout_seconds)
        for number, source in enumerate(sources)
    ]


def _request(source: CatalogSource, timeout_seconds: float) -> ProviderModels:
    try:
        models = list_entries(
            source.provider,
            base_url=source.base_url,
            api_key=source.api_key,
            timeout_seconds=timeout_seconds,
        )
    except OmniAgentError as error:
        return ProviderModels(source, error=error)
    return ProviderModels(source, tuple(models))


def _timed_out(source: CatalogSource, timeout_seconds: float) -> ProviderModels:
    message = f"{source.provider.title} sent no model list within {timeout_seconds:g} s; try again"
    return ProviderModels(source, error=ModelUnreachable(message))
