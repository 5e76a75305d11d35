"""Every protocol behind one face: a server that answers, and the engine that calls it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from omniagent_cli.agent.models.chat_completions import ChatCompletionsEngine
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from tests.agent import responses_asking
from tests.agent.native_asking import PROTOCOLS, Protocol
from tests.servers import chat_server
from tests.servers.chat_server import ChatServer
from tests.servers.responses_server import ResponsesServer, call, output, reasoning, refusal, text

Calls = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Spoken:
    """One protocol.

    Attributes:
        answer: makes a reply of texts, thinking and a finish reason.
        calls: makes a reply that calls tools, given as (name, arguments in JSON), after a text and thinking.
        partial: makes a reply of a text and what follows it instead of its end.
        refusal: makes a reply in which the model refuses; None where the protocol has no such thing.
    """

    name: str
    server: Callable[..., ChatServer]
    engine: Callable[[ChatServer], Any]
    answer: Callable[..., Any]
    calls: Callable[..., Any]
    partial: Callable[[str, Any], Any]
    refusal: Callable[[str], Any] | None = None


def _chat_calls(wanted: Calls, said: str, thinking: Sequence[str]) -> Any:
    reply = chat_server.calls(*((name, json.loads(given)) for name, given in wanted), text=said)
    thoughts = [chat_server.chunk(reasoning_content=piece) for piece in thinking]
    return chat_server.Reply([*thoughts, *reply.parts])


def _chat_refusal(said: str) -> Any:
    return chat_server.stream(chat_server.chunk(refusal=said), chat_server.chunk("stop"))


def _chat_engine(server: ChatServer) -> ChatCompletionsEngine:
    endpoint = Endpoint(PROVIDERS["vllm"], "m", server.url)
    return ChatCompletionsEngine(endpoint, backoff_seconds=0.01)


def _answer(texts: Sequence[str], thinking: Sequence[str], finish: str) -> Any:
    ends = {"stop": {}, "length": {"status": "incomplete", "reason": "max_output_tokens"}}
    ends["content_filter"] = {"status": "incomplete", "reason": "content_filter"}
    thought = [reasoning("".join(thinking))] if thinking else []
    return output(*thought, text(*texts), **ends[finish])


def _calls(wanted: Calls, said: str, thinking: Sequence[str]) -> Any:
    items = [reasoning("".join(thinking))] if thinking else []
    items += [text(said)] if said else []
    return output(*items, *(call(name, given) for name, given in wanted))


def _native(protocol: Protocol) -> Spoken:
    speaks = protocol.speaks
    return Spoken(
        protocol.name,
        protocol.server,
        protocol.engine,
        lambda texts, thinking, finish: speaks.answer(*texts, thinking=thinking, finish=finish),
        lambda wanted, said, thinking: speaks.calls(*wanted, text=said, thinking=thinking),
        speaks.partial,
    )


SPOKEN = (
    Spoken(
        "chat",
        ChatServer,
        _chat_engine,
        lambda texts, thinking, finish: chat_server.answer(
            *texts, thinking=thinking, finish=finish
        ),
        _chat_calls,
        lambda said, end: chat_server.stream(chat_server.chunk(content=said), end, done=False),
        _chat_refusal,
    ),
    Spoken(
        "responses",
        ResponsesServer,
        responses_asking.engine_for,
        _answer,
        _calls,
        lambda said, end: output(text(said), after=[end]),
        lambda said: output(refusal(said)),
    ),
    *map(_native, PROTOCOLS),
)
