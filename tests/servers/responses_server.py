"""A server that speaks OpenAI's Responses protocol strictly, and answers as a script says.

    with ResponsesServer(output(reasoning("Let me see."), text("Hel", "lo"))) as server:
        ...                      # POST server.url + "/responses"
        server.chats()[0]        # what it was sent, checked

What `tests.servers.responses_protocol` refuses is answered with 400 in the words of the API.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.servers.chat_server import ChatServer, Reply, Request, Script, document, status
from tests.servers.responses_protocol import Refused, check_request

USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 12,
}


@dataclass(frozen=True)
class Output:
    """The answer to one request.

    Attributes:
        items: what it consists of; made by `reasoning`, `text`, `refusal` and `call`.
        status: ``completed``, ``incomplete`` or ``failed``.
        reason: why it is incomplete.
        error: why it failed.
        after: parts of the stream instead of its end, as `tests.servers.chat_server.Reply` has them.
        whole: send one document instead of a stream.
    """

    items: Sequence[Mapping[str, Any]] = ()
    status: str = "completed"
    reason: str | None = None
    error: Mapping[str, Any] | None = None
    after: Sequence[Any] | None = None
    usage: Mapping[str, Any] | None = field(default_factory=lambda: USAGE)
    whole: bool = False


def output(*items: Mapping[str, Any], **options: Any) -> Output:
    """Answer with these items."""
    return Output(items, **options)


def text(*pieces: str, phase: str | None = None) -> dict[str, Any]:
    """Make a message in these pieces."""
    return {"type": "message", "pieces": pieces, "part": "output_text", "phase": phase}


def refusal(*pieces: str) -> dict[str, Any]:
    """Make a message in which the model refuses."""
    return {"type": "message", "pieces": pieces, "part": "refusal", "phase": None}


def reasoning(*summaries: str) -> dict[str, Any]:
    """Make a reasoning item with these parts of a summary, encrypted."""
    return {"type": "reasoning", "pieces": summaries}


def call(name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    """Make a call of a function; arguments that are text are sent as they are."""
    given = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function_call", "name": name, "arguments": given}


class ResponsesServer(ChatServer):
    """The server; see `ChatServer`."""

    def __init__(self, *script: Any, account: str = "") -> None:
        super().__init__(*script)
        self.account = account
        self.encrypted: set[str] = set()
        self.refused: list[str] = []
        self.may_refuse = False
        self._number = 0

    def knows(self, path: str) -> bool:
        """Tell whether there is such a page; for the handler."""
        return path in ("/v1/responses", "/v1/models")

    def frame(self, event: Any) -> bytes:
        """Return an event as it is in a stream; for the handler."""
        name = f"event: {event['type']}\n" if "type" in event else ""
        return f"{name}data: {json.dumps(event)}\n\n".encode()

    def read(self, raw: bytes) -> Any:
        """Check the body of a request; for the handler."""
        try:
            return check_request(raw, self.encrypted)
        except Refused as refused:
            self.refused.append(str(refused))
            return refused

    def reply_to(self, request: Request) -> Reply:
        """Choose the reply; for the handler."""
        if isinstance(request.body, Refused):
            return status(400, request.body.error)
        reply: Any = super().reply_to(request)
        return self._reply(reply, request.body) if isinstance(reply, Output) else reply

    def echo(self, body: Any) -> Any:
        """Answer when the script is used up."""
        said = [item for item in body["input"] if item.get("role") == "user"]
        return output(text(f"You said: {said[-1]['content'] if said else ''}"))

    def _reply(self, answer: Output, body: Mapping[str, Any]) -> Reply:
        events = list(self._events(answer, body))
        numbered = [{**event, "sequence_number": n} for n, event in enumerate(events)]
        if answer.whole or not body.get("stream"):
            whole = json.dumps(numbered[-1]["response"]).encode()
            return document(whole, "application/json")
        if answer.after is not None:
            return Reply([*numbered[:-1], *answer.after], done=False)
        return Reply(numbered, done=False)

    def _events(self, answer: Output, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        self._number += 1
        response = {
            "id": f"resp_{self._number}",
            "object": "response",
            "created_at": 1,
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "metadata": {},
            "model": f"{body['model']}-2026-11-01",
            "output": [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": None,
        }
        yield {"type": "response.created", "response": response}
        yield {"type": "response.in_progress", "response": response}
        done: list[dict[str, Any]] = []
        for index, spec in enumerate(answer.items):
            cut = answer.status != "completed" and index == len(answer.items) - 1
            for event in self._item(spec, body, "incomplete" if cut else "completed"):
                yield {**event, "output_index": index}
                if event["type"] == "response.output_item.done":
                    done.append(event["item"])
        ended = {"status": answer.status, "output": done, "usage": answer.usage}
        if answer.reason:
            ended["incomplete_details"] = {"reason": answer.reason}
        if answer.error:
            ended["error"] = answer.error
        yield {"type": f"response.{answer.status}", "response": {**response, **ended}}

    def _item(
        self, spec: Mapping[str, Any], body: Mapping[str, Any], ended: str
    ) -> Iterator[dict[str, Any]]:
        self._number += 1
        number, kind = self._number, spec["type"]
        if kind == "reasoning":
            yield from self._reasoning(
                spec, number, "reasoning.encrypted_content" in body["include"]
            )
        elif kind == "message":
            yield from _message(spec, f"msg_{number}", ended)
        else:
            yield from _function_call(spec, number, ended)

    def _reasoning(
        self, spec: Mapping[str, Any], number: int, encrypts: bool
    ) -> Iterator[dict[str, Any]]:
        item: dict[str, Any] = {"id": f"rs_{number}", "type": "reasoning", "summary": []}
        yield {"type": "response.output_item.added", "item": item}
        summary = []
        for index, said in enumerate(spec["pieces"]):
            place = {"item_id": item["id"], "summary_index": index}
            empty, part = ({"type": "summary_text", "text": t} for t in ("", said))
            name = "response.reasoning_summary"
            yield {"type": f"{name}_part.added", **place, "part": empty}
            for piece in (said[: len(said) // 2], said[len(said) // 2 :]):
                yield {"type": f"{name}_text.delta", **place, "delta": piece}
            yield {"type": f"{name}_text.done", **place, "text": said}
            yield {"type": f"{name}_part.done", **place, "part": part}
            summary.append(part)
        whole = {**item, "summary": summary}
        if encrypts:
            whole["encrypted_content"] = f"gAAAA{self.account}{number}=="
            self.encrypted.add(whole["encrypted_content"])
        yield {"type": "response.output_item.done", "item": whole}


class BothServer(ResponsesServer):
    """Speaks both protocols; `chat` is the script of Chat Completions."""

    def __init__(self, chat: Sequence[Script], *script: Any) -> None:
        super().__init__(*script)
        self._chat = list(chat)

    def knows(self, path: str) -> bool:
        """Tell whether there is such a page; for the handler."""
        return super().knows(path) or path == "/v1/chat/completions"

    def read(self, raw: bytes) -> Any:
        """Check the body of a request; for the handler."""
        return super().read(raw) if b'"input":' in raw else json.loads(raw)

    def reply_to(self, request: Request) -> Reply:
        """Choose the reply; for the handler."""
        if not request.path.endswith("/chat/completions"):
            return super().reply_to(request)
        scripted = self._chat.pop(0)
        return scripted(request) if callable(scripted) else scripted


def _message(spec: Mapping[str, Any], item_id: str, ended: str) -> Iterator[dict[str, Any]]:
    item: dict[str, Any] = {"id": item_id, "type": "message", "role": "assistant", "content": []}
    item["status"] = "in_progress"
    if spec["phase"]:
        item["phase"] = spec["phase"]
    kind = spec["part"]
    key = "text" if kind == "output_text" else "refusal"
    more = {"annotations": [], "logprobs": []} if kind == "output_text" else {}
    logged = {"logprobs": []} if kind == "output_text" else {}
    place = {"item_id": item_id, "content_index": 0}
    said = "".join(spec["pieces"])
    part = {"type": kind, key: said, **more}
    yield {"type": "response.output_item.added", "item": item}
    yield {"type": "response.content_part.added", **place, "part": {**part, key: ""}}
    for piece in spec["pieces"]:
        yield {"type": f"response.{kind}.delta", **place, "delta": piece, **logged}
    yield {"type": f"response.{kind}.done", **place, key: said, **logged}
    yield {"type": "response.content_part.done", **place, "part": part}
    whole = {**item, "status": ended, "content": [part]}
    yield {"type": "response.output_item.done", "item": whole}


def _function_call(spec: Mapping[str, Any], number: int, ended: str) -> Iterator[dict[str, Any]]:
    arguments = spec["arguments"]
    item = {
        "id": f"fc_{number}",
        "type": "function_call",
        "call_id": f"call_{number}",
        "name": spec["name"],
        "arguments": "",
        "status": "in_progress",
    }
    place = {"item_id": item["id"]}
    name = "response.function_call_arguments"
    yield {"type": "response.output_item.added", "item": item}
    for piece in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
        yield {"type": f"{name}.delta", **place, "delta": piece}
    yield {"type": f"{name}.done", **place, "arguments": arguments}
    whole = {**item, "arguments": arguments, "status": ended}
    yield {"type": "response.output_item.done", "item": whole}
