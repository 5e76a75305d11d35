"""Validation of a setting before it is saved, so that an unusable value is rejected immediately."""

from __future__ import annotations

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.config.setting_names import split_key
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import ConfigError, UsageError

_STORES = {("store", "url"), ("stores", "*", "url")}
_MODELS = {("model",), ("titles", "model"), ("models", "aliases", "*")}
_CURRENT = "current"


def check_use(context: Context, key: str, value: str) -> None:
    """Reject an unusable store or model; the settings table validates other values.

    Raises:
        UsageError: the URL has no backend, or the store or provider does not exist.
    """
    name = split_key(key)
    if _general(name) in _STORES:
        _check_store(context, key, value)
    elif _general(name) in _MODELS:
        _check_model(context, name, value)
    elif name == ("agent", "provider"):
        from omniagent_cli.agent.models.providers import find_provider

        find_provider(value, origin=key)


def _general(name: tuple[str, ...]) -> tuple[str, ...]:
    if name[:1] == ("stores",) and len(name) == 3:
        return ("stores", "*", name[2])
    return (*name[:2], "*") if name[:2] == ("models", "aliases") and len(name) == 3 else name


def _check_store(context: Context, key: str, value: str) -> None:
    from omniagent_cli.stores import check_url

    if not value.strip():
        return  # the settings table reports the error
    if not value.startswith("@"):
        check_url(value)
        return
    settings = _settings(context)
    if settings is None:
        return
    known: dict[str, object] = settings.table(("stores",))
    if value[1:] not in known:
        defined = ", ".join(f"@{name}" for name in known) or "none defined"
        raise UsageError(
            f"{key} cannot be {value!r}: no such store ({defined}); define it first: "
            f"'omniagent config set stores.{value[1:] or 'NAME'}.url URL'"
        )


def _check_model(context: Context, name: tuple[str, ...], value: str) -> None:
    from omniagent_cli.agent.models.known_models import is_bare
    from omniagent_cli.agent.models.providers import RECALL, parse_model
    from omniagent_cli.cli.models.known_models import known_models

    settings = _settings(context)
    model = value.strip()
    if settings is not None and model:
        if model in settings.aliases:
            return
        provider = settings.agent.provider
        if ":" not in model and (provider or settings.agent.base_url):
            return  # a bare name of that provider, or of a custom server
    if not model or model.lower() == RECALL or (name[0] == "titles" and model == _CURRENT):
        return
    if is_bare(model) and settings is not None:
        model = known_models(settings).qualify(model)
    parse_model(model)


def _settings(context: Context) -> Settings | None:
    """Return the settings; None if they are invalid, which setting a value may repair."""
    try:
        return context.settings
    except ConfigError:
        return None
