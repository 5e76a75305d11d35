"""Checks of models: API keys, providers, local servers, the default model and aliases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from omniagent_cli.agent.models.known_models import KnownModels
from omniagent_cli.agent.models.model_catalog import CatalogSource, ProviderModels, list_all
from omniagent_cli.agent.models.providers import PROVIDERS, RECALL, is_loopback, parse_model
from omniagent_cli.cli.doctor.check_result import (
    INFO,
    OK,
    PROBLEM,
    WARNING,
    CheckContext,
    Finding,
    format_finding,
)
from omniagent_cli.cli.models.known_models import known_models, shutdown_warning
from omniagent_cli.cli.models.model_catalog import ModelCatalog
from omniagent_cli.config.resolution import resolve_model
from omniagent_cli.config.settings import Settings
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import ConfigError, ModelRefused, OmniAgentError
from omniagent_cli.ui.views import counted

_LIST_SECONDS = 4.0
_REJECTED = (401, 403)


def check(context: CheckContext) -> Iterator[Finding]:
    """Check keys and local servers, request model lists unless offline, and report the default model."""
    yield from _keys(context)
    if context.settings is None:
        return
    catalog = ModelCatalog(
        context.context, offline=context.offline, refresh=True, max_age=timedelta()
    )
    sources = catalog.sources()
    asked = [one for one in sources if not context.offline or is_loopback(one.base_url)]
    offers = list_all(asked, timeout_seconds=_LIST_SECONDS)
    for offer in offers:
        yield _response_finding(offer)
    for source in sources:
        if source not in asked:
            yield Finding(INFO, f"{source.provider.title}: not checked (--offline)")
    there = {source.base_url for source in sources}
    for server in catalog.servers:
        if server.base_url not in there:
            yield _local_server(server.provider.title, server.base_url, len(server.models))
    known = known_models(context.settings, offers)
    yield from _default_model(context.settings, context, catalog, known)
    yield from _aliases(context.settings)


def _keys(context: CheckContext) -> Iterator[Finding]:
    keys = context.context.keys
    if exposed := keys.exposed_file:
        yield Finding(
            WARNING, f"other users of this machine can read {exposed}", f"chmod 600 {exposed}"
        )
    found = False
    try:
        for provider in PROVIDERS.values():
            places = keys.places(provider.name, provider.key_variables)
            if places:
                found = True
                unused = f"; the one in {places[1].origin} is not used" if places[1:] else ""
                yield Finding(OK, f"found a key for {provider.title} ({places[0].origin}){unused}")
    except ConfigError as error:
        yield format_finding(error)
        return
    if not found:
        do = "run 'omniagent keys set openai'; a local server needs none"
        yield Finding(INFO, "no provider has a key", do)


def _response_finding(offer: ProviderModels) -> Finding:
    source, error = offer.source, offer.error
    title = source.provider.title
    if error is None:
        how = f"{title} accepts the key" if source.api_key else f"{title} responds"
        return Finding(OK, f"{how}: {counted(len(offer.models), 'model')} at {source.base_url}")
    if isinstance(error, ModelRefused) and error.status in _REJECTED and source.api_key:
        what = f"{title} rejected the key ({source.origin})"
        return Finding(PROBLEM, what, f"omniagent keys set {source.provider.name}")
    return format_finding(error, PROBLEM if _is_configured(source) else WARNING)


def _is_configured(source: CatalogSource) -> bool:
    """Return True if the user configured this address, so that an error is a problem."""
    return source.base_url != source.provider.base_url


def _local_server(title: str, url: str, models: int) -> Finding:
    if models:
        return Finding(OK, f"{title} is running at {url} with {counted(models, 'model')}")
    return Finding(WARNING, f"{title} is running at {url} but has no models", "download one")


def _default_model(
    settings: Settings, context: CheckContext, catalog: ModelCatalog, known: KnownModels
) -> Iterator[Finding]:
    from omniagent_cli.cli.talk.agent_factory import AgentFactory
    from omniagent_cli.cli.talk.agent_options import AgentOptions

    factory = AgentFactory(
        settings,
        AgentOptions(offline=context.offline),
        tell=lambda _line: None,
        probe=lambda: catalog.servers,
        known=known,
    )
    try:
        choice = factory.choice()
    except OmniAgentError as error:
        yield format_finding(error)
        return
    if choice.model == RECALL:
        state = WARNING if choice.automatic else OK
        do = "run 'omniagent keys set openai', or start Ollama, to chat with a language model"
        yield Finding(
            state,
            f"the default model is recall, which only searches the session: {choice.reason}",
            do,
        )
        return
    provider = parse_model(choice.model).provider
    if not provider.local and not choice.base_url and not _has_key(context, provider.name):
        what = f"the default model is {choice.model} ({choice.reason}), but {provider.title} has no key"
        yield Finding(PROBLEM, what, provider.key_advice)
        return
    yield Finding(OK, f"the default model is {choice.model}: {choice.reason}")
    yield from _check_listed(choice.model, known)


def _check_listed(model: str, known: KnownModels) -> Iterator[Finding]:
    """Check that the provider lists the model and does not shut it down."""
    provider = parse_model(model).provider
    is_listed = known.is_listed(model)
    if is_listed is None:
        return
    if not is_listed:
        successor = f"{provider.name}:{known.preferred(provider, utc_now().date())}"
        do = f"omniagent models use {successor}" if successor != model else "omniagent models list"
        yield Finding(PROBLEM, f"{provider.title} does not list {model}", do)
    elif warning := shutdown_warning(known, model, utc_now().date()):
        yield Finding(WARNING, warning)
    else:
        yield Finding(OK, f"{provider.title} lists {model}")


def _has_key(context: CheckContext, name: str) -> bool:
    try:
        return context.context.keys.find(name, PROVIDERS[name].key_variables) is not None
    except ConfigError:
        return False  # reported by `_keys`


def _aliases(settings: Settings) -> Iterator[Finding]:
    for name in settings.aliases:
        try:
            model = resolve_model(settings, name)
            if model.strip().lower() != RECALL:
                parse_model(model, origin=f"the alias {name}")
        except OmniAgentError as error:
            yield format_finding(error)
