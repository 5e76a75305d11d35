"""What the tests of the engine share: asking a scripted server once."""

from __future__ import annotations

import asyncio

from omniagent_cli.agent.events import ModelSettings
from omniagent_cli.agent.models.chat_completions import ChatCompletionsEngine
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint

KEY = "sk-verysecretkey0123456789"
QUICK = ModelSettings(first_token_timeout_seconds=0.2, token_timeout_seconds=0.1)
ASK = [{"role": "user", "content": "Hi"}]


def engine_for(server, provider="vllm", key=""):
    endpoint = Endpoint(PROVIDERS[provider], "m", server.url, key)
    return ChatCompletionsEngine(endpoint, backoff_seconds=0.01)


def ask(engine, messages=ASK, tools=(), settings=None, seen=None):
    """Ask once and return the events; what came before an error is in `seen`."""
    seen = [] if seen is None else seen

    async def run():
        try:
            async for event in engine.stream(messages, tools, settings or ModelSettings()):
                seen.append(event)
        finally:
            await engine.aclose()

    asyncio.run(run())
    return seen


def one(chat_server, *replies, **options):
    """Ask a server with this script once; return the last event."""
    return ask(engine_for(chat_server(*replies)), **options)[-1]
