"""From a model's name to the engine that asks it; which engine that is, the provider's row says."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.models.providers import (
    Endpoint,
    base_url_for,
    is_loopback,
    native_url_for,
    parse_model,
)
from omniagent_cli.errors import UsageError
from omniagent_cli.keys import KeyChain


def open_engine(
    model: str, *, base_url: str | None = None, keys: KeyChain | None = None, send_key: bool = True
) -> Engine:
    """Make the engine for ``provider:name``.

    Args:
        model: such as ``openai:gpt-5``.
        base_url: another address for the provider.
        keys: where its key is; only environment and keyring unless told.
        send_key: False for a server that was found by itself: it is never told a key.

    Raises:
        UsageError: the model or the address is wrong.
    """
    endpoint = endpoint_for(model, base_url=base_url, keys=keys, send_key=send_key)
    engine = "native" if endpoint.native else endpoint.provider.engine
    module = import_module(f"omniagent_cli.agent.{engine}")
    return cast("Engine", module.engine_for(endpoint))


def endpoint_for(
    model: str, *, base_url: str | None = None, keys: KeyChain | None = None, send_key: bool = True
) -> Endpoint:
    """Return where and as whom to ask a model; see `open_engine`."""
    name = parse_model(model)
    provider = name.provider
    if not name.model:
        raise UsageError(
            f"name a model too, such as {provider.name}:NAME; see `omniagent models list`"
        )
    native = native_url_for(provider, base_url)
    address = native or base_url_for(provider, base_url)
    key = None
    if send_key and not (provider.keyless_on_loopback and is_loopback(address)):
        key = (keys or KeyChain()).get(provider.name, provider.key_variables)
    return Endpoint(provider, name.model, address, key or "", native=bool(native))
