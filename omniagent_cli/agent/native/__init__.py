"""Engines for Anthropic, Google, Bedrock, Mistral and Groq in their own protocols, through `pydantic-ai`.

Installed with the extra ``[providers]``. Only the models of `pydantic-ai` are used, not its agents: tools, approval
and history work the same for every engine. The library is imported on first use, in a thread.
"""

from __future__ import annotations

from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.models.providers import Endpoint, Provider, native_installed
from omniagent_cli.errors import UsageError

EXTRA = "pip install 'omniagent-cli[providers]'"


def engine_for(endpoint: Endpoint) -> Engine:
    """Return the engine of an endpoint.

    Raises:
        UsageError: the extra is not installed.
        ModelRefused: the API key has characters that a header cannot hold.
    """
    from omniagent_cli.agent.models.http_client import check_api_key
    from omniagent_cli.agent.native.engine import NativeEngine

    require(endpoint.provider)
    check_api_key(endpoint)
    return NativeEngine(endpoint)


def require(provider: Provider) -> None:
    """Raise a `UsageError` that names the extra if it is not installed."""
    if not native_installed(provider):
        raise UsageError(f"{provider.title} needs an extra; install it with: {EXTRA}")
