"""``copilot-chat``: chats of GitHub Copilot in VS Code: the export (``Chat: Export Chat...``) and ``chatSessions`` files.

``requests`` is a list of a question and the parts of its answer. A ``.jsonl`` file is a log of changes to that document
(0: the whole, 1: set, 2: push, 3: delete). Source: https://github.com/microsoft/vscode
(``src/vs/workbench/contrib/chat/common/model``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import line_objects
from omniagent_cli.formats.readers.conversations import ConversationReader
from omniagent_cli.formats.readers.records import (
    as_text,
    left_out,
    list_of,
    message,
    object_of,
    objects_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import Problem, ReaderItem, problem

_USAGE = {"promptTokens": "input_tokens", "outputTokens": "output_tokens"}
_WHOLE, _SET, _PUSH, _DELETE = range(4)


class CopilotChat(ConversationReader):
    """Reader of a chat of GitHub Copilot in VS Code."""

    format_name = "copilot-chat"
    nested_keys = frozenset({"requests"})

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the chat of a document or of a log of changes."""
        head = source.head().lstrip()
        if not head.startswith(b'{"kind":'):
            yield from super().read(source)
            return
        self._source = source
        state: dict[str, Any] = {}
        for entry in line_objects(source):
            if isinstance(entry, Problem):
                yield entry
            else:
                state = _changed(state, entry.record)
        try:
            yield from self._conversation(state, source.name)
        except InvalidRecord as error:
            yield problem(source.name, error)

    def _conversation(self, raw: dict[str, Any], location: str) -> Iterator[ReaderItem]:
        requests = objects_of(raw.get("requests"))
        first = next((one.get("timestamp") for one in requests), None)
        header = self._header(
            text_of(raw.get("sessionId")) or Path(self._source.name).stem,
            title=raw.get("customTitle"),
            created=raw.get("creationDate") or first,
            updated=raw.get("lastMessageDate"),
            model=_model(next((one.get("modelId") for one in reversed(requests)), "")),
        )
        records = (record for one in requests for record in _records(one))
        return self._thread(records, location, header)


def _changed(state: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return the document after a change; an impossible change is ignored."""
    kind, value = change.get("kind"), change.get("v")
    if kind == _WHOLE:
        return object_of(value)
    path = list_of(change.get("k"))
    holder: Any = state
    try:
        for key in path[:-1]:
            holder = holder[key]
        if kind == _SET:
            holder[path[-1]] = value
        elif kind == _DELETE:
            del holder[path[-1]]
        elif kind == _PUSH:
            target = holder[path[-1]]
            if isinstance(index := change.get("i"), int):
                del target[index:]
            target.extend(list_of(value))
    except (LookupError, TypeError, AttributeError):
        pass
    return state


def _records(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    request_id, at = text_of(request.get("requestId")), request.get("timestamp")
    asked = request.get("message")
    text = asked if isinstance(asked, str) else text_of(object_of(asked).get("text"))
    files = [text_of(one.get("name")) for one in objects_of(object_of(request.get("variableData")).get("variables"))]  # fmt: skip
    text = "\n".join(filter(None, [text, *(f"[file: {name}]" for name in files if name)]))
    yield message("user", text, id_=request_id, at=at) if text else left_out("empty user message")
    texts: list[str] = []
    thinking: list[str] = []
    calls: list[dict[str, Any]] = []
    for part in objects_of(request.get("response")):
        kind, value = part.get("kind"), part.get("value")
        if kind == "thinking":
            thinking.append(
                value if isinstance(value, str) else "\n".join(map(text_of, list_of(value)))
            )
        elif kind == "toolInvocationSerialized":
            calls.append(_call(part))
        elif kind == "inlineReference":
            reference = object_of(part.get("inlineReference"))
            name = text_of(part.get("name")) or text_of(reference.get("name"))
            path = text_of(reference.get("path")) or text_of(reference.get("fsPath"))
            texts.append(f"`{name or Path(path).name}`" if name or path else "")
        elif kind in (None, "markdownContent", "markdownVuln"):
            content = (
                value
                if isinstance(value, str)
                else object_of(value or part.get("content")).get("value")
            )
            texts.append(text_of(content))
    text, thought = "".join(texts), "\n\n".join(filter(None, thinking))
    result = object_of(request.get("result"))
    error = text_of(object_of(result.get("errorDetails")).get("message"))
    if not (text or thought or calls or error):
        yield left_out("empty assistant message")
        return
    yield message(
        "assistant", text or error, at=at, id_=text_of(request.get("responseId")), thinking=thought, tool_calls=calls,
        model=_model(request.get("modelId")), usage=usage_of(object_of(result.get("metadata")), _USAGE),
        status="failed" if error else "interrupted" if request.get("isCanceled") is True else "",
    )  # fmt: skip


def _call(part: dict[str, Any]) -> dict[str, Any]:
    details = object_of(part.get("toolSpecificData"))
    said = part.get("pastTenseMessage") or part.get("invocationMessage")
    shown = said if isinstance(said, str) else object_of(said).get("value")
    arguments = details or {"input": as_text(shown)}
    return tool_call(part.get("toolCallId"), part.get("toolId"), arguments)


def _model(name: Any) -> str:
    bare = text_of(name).removeprefix("copilot/")
    return f"copilot:{bare}" if bare else ""
