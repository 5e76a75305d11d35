"""Message history of pydantic-ai over any store.

Its form is ``pydantic_ai.messages.ModelMessagesTypeAdapter`` (checked with pydantic-ai 2.62 and 2.68). Each model message
is stored whole and loaded equal; its prompts, answers, tool calls and results become messages of the session. Messages
of other programs are loaded as the closest model messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

try:
    from pydantic_ai.messages import (
        ModelMessage,
        ModelMessagesTypeAdapter,
        ModelRequest,
        ModelRequestPart,
        ModelResponse,
        ModelResponsePart,
        SystemPromptPart,
        TextPart,
        ToolCallPart,
        ToolReturnPart,
        UserPromptPart,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "pydantic-ai is not installed; install it with: pip install 'omniagent-cli[providers]'",
        name=missing.name,
    ) from missing

from omniagent_cli.errors import SessionNotFound
from omniagent_cli.json_format import dump
from omniagent_cli.models import Message, check_session_id
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.aio import run_to_end

ENTRY = "pydantic_ai_message"
"""The key of the unchanged model message in the ``extra`` of its first message; the others have None there."""

JsonObject = dict[str, Any]


class MessageHistory:
    """The history of one session, for ``agent.run(..., message_history=history.load())``.

    Args:
        session_id: the id of the session in the store; the first messages create it.
        store: the store; the caller closes it.
    """

    def __init__(self, session_id: str, store: SessionStore) -> None:
        self.session_id = check_session_id(session_id)
        self._store = store

    def load(self) -> list[ModelMessage]:
        """Return all model messages, oldest first; an empty list if the session does not exist."""
        try:
            messages = self._store.messages(self.session_id)
        except SessionNotFound:
            return []
        return _model_messages(messages)

    def append(self, messages: Sequence[ModelMessage]) -> None:
        """Append model messages, all or none: ``result.new_messages()`` after a run."""
        records = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
        own = [message for record in records for message in to_messages(record)]
        if own:
            self._store.append(self.session_id, own)

    async def aload(self) -> list[ModelMessage]:
        """Return all model messages; see `load`."""
        return await run_to_end(self.load)

    async def aappend(self, messages: Sequence[ModelMessage]) -> None:
        """Append model messages; see `append`. A canceled call ends first."""
        await run_to_end(lambda: self.append(messages))


def to_messages(record: JsonObject) -> list[Message]:
    """Return the messages of a model message as JSON; the first one keeps it."""
    parts = [part for part in record.get("parts") or [] if isinstance(part, dict)]
    if record.get("kind") == "response":
        found = [_answer(record, parts)]
    else:
        found = [_request(part) for part in parts] or [Message("system")]
    for message in found:
        message.extra = {ENTRY: None}
    found[0].extra = {ENTRY: record}
    return found


def _answer(record: JsonObject, parts: Sequence[JsonObject]) -> Message:
    texts = [part["content"] for part in parts if part.get("part_kind") == "text"]
    calls = [_call(part) for part in parts if part.get("part_kind") == "tool-call"]
    model = record.get("model_name")
    text = "\n\n".join(filter(None, texts))
    return Message("assistant", text, tool_calls=calls or None, model=model or None)


def _call(part: JsonObject) -> JsonObject:
    arguments = part.get("args")
    text = arguments if isinstance(arguments, str) else dump(arguments or {}).decode()
    function = {"name": part["tool_name"], "arguments": text}
    return {"id": part["tool_call_id"], "type": "function", "function": function}


def _request(part: JsonObject) -> Message:
    kind, text = part.get("part_kind"), _text(part.get("content"))
    if kind == "user-prompt":
        return Message("user", text)
    if part.get("tool_call_id") and kind in ("tool-return", "retry-prompt"):
        name = part.get("tool_name") or None
        return Message("tool", text, tool_call_id=part["tool_call_id"], name=name)
    return Message("system", text)


def _text(content: Any) -> str:
    """Return text, the texts of a list of parts, or any other value as JSON."""
    if isinstance(content, str) or content is None:
        return content or ""
    if not isinstance(content, list):
        return dump(content).decode()
    texts = [part.get("content") if isinstance(part, dict) else part for part in content]
    return "\n".join(text for text in texts if isinstance(text, str))


def _model_messages(messages: Sequence[Message]) -> list[ModelMessage]:
    records: list[JsonObject | ModelMessage] = []
    names: dict[str, str] = {}
    for message in messages:
        extra = message.extra or {}
        if ENTRY in extra:
            if isinstance(extra[ENTRY], dict):
                records.append(extra[ENTRY])
            continue
        for call in message.tool_calls or ():
            names[call.get("id") or ""] = call["function"]["name"]
        records += _foreign(message, names)
    return ModelMessagesTypeAdapter.validate_python(records)


def _foreign(message: Message, names: dict[str, str]) -> Iterator[ModelMessage]:
    """Yield the model message of a message of another program; none for one without content."""
    if message.role == "assistant":
        said: list[ModelResponsePart] = [TextPart(message.text)] if message.text else []
        for call in message.tool_calls or ():
            function = call["function"]
            arguments = function.get("arguments") or "{}"
            said.append(
                ToolCallPart(function["name"], arguments, tool_call_id=call.get("id") or "")
            )
        if said:
            yield ModelResponse(said, model_name=message.model)
        return
    part: ModelRequestPart
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        name = message.name or names.get(call_id) or "tool"
        part = ToolReturnPart(name, message.text, tool_call_id=call_id)
    else:
        kind = UserPromptPart if message.role == "user" else SystemPromptPart
        part = kind(message.text)
    yield ModelRequest([part])
