"""Creation of the engine for a model name: the provider's own protocol, or an OpenAI-compatible one."""

from __future__ import annotations

from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.models.protocol_memory import ProtocolMemory
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
    model: str,
    *,
    base_url: str | None = None,
    api: str | None = None,
    keys: KeyChain | None = None,
    send_key: bool = True,
    memory: ProtocolMemory | None = None,
) -> Engine:
    """Return the engine for ``provider:name``.

    Args:
        model: for example ``openai:gpt-6.1-sol``.
        base_url: another address for the provider.
        api: ``responses`` or ``chat``, the protocol to try first; None decides by the address.
        keys: the API keys; only environment and keyring by default.
        send_key: False for a discovered server, which never receives a key.
        memory: the protocols learned from servers; by default only the engine itself remembers them.

    Raises:
        UsageError: the model, the address or the protocol is invalid.
    """
    endpoint = endpoint_for(model, base_url=base_url, keys=keys, send_key=send_key)
    if endpoint.native:
        from omniagent_cli.agent import native

        return native.engine_for(endpoint)
    from omniagent_cli.agent.models import protocol_choice

    return protocol_choice.engine_for(endpoint, api=api, memory=memory)


def endpoint_for(
    model: str, *, base_url: str | None = None, keys: KeyChain | None = None, send_key: bool = True
) -> Endpoint:
    """Return the address, model and key of requests; see `open_engine`."""
    name = parse_model(model)
    provider = name.provider
    if not name.model:
        raise UsageError(
            f"add the name of a model, such as {provider.name}:NAME; see `omniagent models list`"
        )
    native = native_url_for(provider, base_url)
    address = native or base_url_for(provider, base_url)
    key = None
    if send_key and not (provider.keyless_on_loopback and is_loopback(address)):
        key = (keys or KeyChain()).get(provider.name, provider.key_variables)
    return Endpoint(provider, name.model, address, key or "", native=bool(native))
