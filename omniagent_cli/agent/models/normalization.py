"""Normalization of the history for requests: sent messages are made valid, stored ones stay unchanged.

Pure functions over messages in the shape of Chat Completions. `normalized` is for all protocols, `alternating` for
those whose chat templates reject consecutive messages of one side: user and tools, or assistant.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from omniagent_cli.agent.tools.tool_names import legal_tool_name, resolve_tool_name
from omniagent_cli.json_format import dump
from omniagent_cli.models import content_text, other_parts, part_label
from omniagent_cli.parsing import parse_json_or_text

UNFINISHED = "(This turn was interrupted before an answer.)"
"""Inserted between a tool result and the next user message after an interrupted turn: templates require an answer there."""

EMPTY = "(empty message)"
"""Sent for a user message without text, as imports contain them: providers reject an empty one."""

INVALID_ARGUMENTS = "invalid_arguments"
"""The only argument of a call whose arguments are not a JSON object: the text that the model wrote."""

_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def normalized(
    messages: Sequence[Mapping[str, Any]], tool_names: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return messages with valid Unicode, and tool calls with object arguments, legal names and unique ids.

    Args:
        messages: results follow their calls, as `context.window` has them.
        tool_names: the tools of the request; a call by another spelling of one of them gets its name.
    """
    ids = _UniqueIds()
    sent = []
    for message in messages:
        copy: dict[str, Any] = valid_unicode(dict(message))
        calls = copy.get("tool_calls")
        if calls:
            ids.next_answer()
            copy["tool_calls"] = [ids.call(_call(call, tool_names)) for call in calls]
        elif copy.get("role") == "tool":
            copy["tool_call_id"] = ids.result(copy.get("tool_call_id") or "")
        elif copy.get("role") == "user" and not copy.get("content"):
            copy["content"] = EMPTY
        if name := copy.pop("name", None):
            known = tool_names if copy.get("role") == "tool" else ()
            copy["name"] = valid_tool_name(str(name), known)
        sent.append(copy)
    return sent


def alternating(
    messages: Sequence[Mapping[str, Any]], *, merge_answers: bool = True
) -> list[dict[str, Any]]:
    """Return messages with alternating sides: one system message at the start, consecutive ones of one side merged.

    A user message without an answer is merged into the next one; repeated ones are sent once.

    Args:
        messages: valid messages; see `normalized`.
        merge_answers: False keeps consecutive answers apart, for a protocol that sends their signed parts.
    """
    system = [message for message in messages if message.get("role") == "system"]
    merged = [_merged(system)] if system else []
    run: list[dict[str, Any]] = []
    for message in messages:
        role = message.get("role")
        if role == "system":
            continue
        alone = role == "tool" or (role == "assistant" and not merge_answers)
        if run and (role != run[0].get("role") or alone or run[-1].get("tool_calls")):
            merged.append(_merged(run))
            run = []
            if role == "user" and merged[-1].get("role") == "tool":
                merged.append({"role": "assistant", "content": UNFINISHED})
        run.append(dict(message))
    return [*merged, _merged(run)] if run else merged


def without_parts(
    messages: Sequence[Mapping[str, Any]], kinds: Collection[str]
) -> list[dict[str, Any]]:
    """Return messages with a note in place of each content part of these types, except in the last user message.

    Args:
        messages: the newest question is the last message of the user.
        kinds: the rejected types, such as ``image_url``.
    """
    last = max((n for n, m in enumerate(messages) if m.get("role") == "user"), default=-1)
    return [
        dict(message) if number == last else {**message, **_without(message, kinds)}
        for number, message in enumerate(messages)
    ]


def without_system(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the system messages merged into the first user message, for templates without such a role."""
    system = [message for message in messages if message.get("role") == "system"]
    rest = [dict(message) for message in messages if message.get("role") != "system"]
    first = {"role": "user", "content": content_text(_merged(system)["content"])} if system else {}
    return [first, *rest] if first else rest


def has_parts(message: Mapping[str, Any], kinds: Collection[str]) -> bool:
    """Return True if a message has a content part of one of these types."""
    return any(part.get("type") in kinds for part in other_parts(message.get("content") or ""))


def valid_unicode(value: Any) -> Any:
    """Return a JSON value whose texts can be written in UTF-8: surrogate pairs joined, lone surrogates replaced."""
    if isinstance(value, str):
        return value if value.isascii() else _valid_text(value)
    if isinstance(value, dict):
        return {valid_unicode(key): valid_unicode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [valid_unicode(item) for item in value]
    return value


def _valid_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def valid_tool_name(name: str, tool_names: Collection[str] = ()) -> str:
    """Return the tool that a name refers to, or a legal form of the name."""
    return resolve_tool_name(name, tool_names) or legal_tool_name(name)


def valid_arguments(text: str) -> str:
    """Return arguments as a JSON object, as providers and chat templates require; an object is returned unchanged."""
    if not text.strip():
        return "{}"
    value = parse_json_or_text(text)
    if isinstance(value, dict):
        if not _ESCAPED_SURROGATE.search(text):
            return text
        return dump(valid_unicode(value)).decode()
    if value is None:
        return "{}"
    return dump({INVALID_ARGUMENTS: text}).decode()


def _call(call: Mapping[str, Any], tool_names: Collection[str]) -> dict[str, Any]:
    function = call.get("function") or {}
    valid = {
        "name": valid_tool_name(str(function.get("name") or ""), tool_names),
        "arguments": valid_arguments(str(function.get("arguments") or "")),
    }
    return {**call, "type": "function", "function": valid}


class _UniqueIds:
    """Generator of unique call ids that also renames the results of the calls.

    Some servers give the same ids in every answer. The new ids depend on the history alone, so that the prompt cache
    of the provider stays valid.
    """

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._seen: Counter[str] = Counter()
        self._waiting: dict[str, list[str]] = defaultdict(list)

    def next_answer(self) -> None:
        self._waiting.clear()

    def call(self, call: dict[str, Any]) -> dict[str, Any]:
        given = str(call.get("id") or "")
        unique = given
        while not unique or unique in self._used:
            self._seen[given] += 1
            unique = f"{given or 'call'}_{self._seen[given]}"
        self._used.add(unique)
        self._waiting[given].append(unique)
        return {**call, "id": unique}

    def result(self, given: str) -> str:
        waiting = self._waiting.get(given)
        return waiting.pop(0) if waiting else given


def _merged(run: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return messages of one side merged into one; other keys come from the last."""
    if len(run) == 1:
        return dict(run[0])
    merged = {key: value for message in run for key, value in message.items()}
    if len({message.get("name") for message in run}) > 1:
        merged.pop("name", None)
    contents: list[Any] = []
    for message in run:
        if (content := message.get("content")) and content not in contents:
            contents.append(content)
    if all(isinstance(content, str) for content in contents):
        return {**merged, "content": "\n\n".join(contents)}
    return {**merged, "content": [part for content in contents for part in _parts(content)]}


def _parts(content: Any) -> Iterator[dict[str, Any]]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    else:
        yield from content


def _without(message: Mapping[str, Any], kinds: Collection[str]) -> dict[str, Any]:
    if not has_parts(message, kinds):
        return {}
    content = [
        {"type": "text", "text": f"{part_label(part)} (not sent: this model does not accept it)"}
        if part.get("type") in kinds
        else part
        for part in message["content"]
    ]
    return {"content": content_text(content) if _only_text(content) else content}


def _only_text(content: Sequence[Mapping[str, Any]]) -> bool:
    return all(part.get("type") == "text" for part in content)
