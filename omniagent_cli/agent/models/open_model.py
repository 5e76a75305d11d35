"""Opening of the model that an agent is given by name, or chooses."""

from __future__ import annotations

from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.models.recall import NAME as RECALL
from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.keys import KeyChain


def open_model(
    model: str | Engine | None,
    *,
    base_url: str | None = None,
    api: str | None = None,
    keys: KeyChain | None = None,
) -> Engine:
    """Return the engine for a model name; None chooses a model.

    Raises:
        UsageError: the provider is unknown, or a name alone matches no known model, or several.
    """
    if model is not None and not isinstance(model, str):
        return model
    send_key, named = True, model is not None
    if model is None:
        from omniagent_cli.agent.models.discovery import choose_model

        choice = choose_model(keys=keys, base_url=base_url)
        model, base_url, send_key = choice.model, choice.base_url or None, choice.send_key
    if model == RECALL:
        return Recall(named=named, keys=keys)
    from omniagent_cli.agent.models.engine_factory import open_engine
    from omniagent_cli.agent.models.known_models import qualified

    model = qualified(model, base_url=base_url)
    return open_engine(model, base_url=base_url, api=api, keys=keys, send_key=send_key)
