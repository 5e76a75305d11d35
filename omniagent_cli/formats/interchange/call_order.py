"""Order of tool calls and results as Chat Completions requires it: every call is followed by exactly one result."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

NO_RESULT = "(no result)"
"""Content of the result of a call that has none."""

MAX_HELD = 1_000
"""Limit of messages that wait for the results of a call."""


def in_call_order(messages: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield messages so that the results of each answer with tool calls follow it directly, in the order of the calls.

    A later result of the same turn is moved up; a missing one is replaced by `NO_RESULT`; several results of one call are
    joined. A result without a call gets a call of its own, so no text is lost. Turns that two writers interleaved
    become whole turns.

    Args:
        messages: message records, oldest first; unchanged.
    """
    held: dict[str, list[dict[str, Any]]] = {}
    used: set[str] = set()
    current, count = "", 0
    for message in messages:
        current = message.get("turn_id") or current
        if current not in held:
            while held and not _open_calls(first := next(iter(held.values()))):
                del held[next(iter(held))]
                yield from _completed(first, used)
            count = sum(map(len, held.values()))
        held.setdefault(current, []).append(message)
        count += 1
        if count > MAX_HELD:
            for turn in held.values():
                yield from _completed(turn, used)
            held, count = {}, 0
    for turn in held.values():
        yield from _completed(turn, used)


def _open_calls(turn: list[dict[str, Any]]) -> set[str]:
    """Return the ids of the calls that have no result yet."""
    calls = {call.get("id") or "" for message in turn for call in message.get("tool_calls") or ()}
    return calls - {message.get("tool_call_id") for message in turn if message["role"] == "tool"}


def _completed(turn: list[dict[str, Any]], used: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a turn in order, with unique call ids; ids used by earlier turns are in `used`."""
    answers = [message for message in turn if message["role"] != "tool"]
    results, orphans = _assigned(turn)
    for result in orphans.get(0, ()):
        yield from _with_call(result, used)
    for message in answers:
        calls = [
            {**call, "id": _unique(call.get("id"), used)}
            for call in message.get("tool_calls") or ()
        ]
        yield {**message, "tool_calls": calls} if calls else message
        for number, call in enumerate(calls):
            found = results.get((id(message), number))
            result = _joined(found) if found else {"role": "tool", "content": NO_RESULT}
            yield {**result, "tool_call_id": call["id"]}
        for result in orphans.get(id(message), ()):
            yield from _with_call(result, used)


def _assigned(
    turn: list[dict[str, Any]],
) -> tuple[dict[tuple[int, int], list[dict[str, Any]]], dict[int, list[dict[str, Any]]]]:
    """Return the results by answer and number of the call, and the results without a call by the message before them."""
    results: dict[tuple[int, int], list[dict[str, Any]]] = {}
    orphans: dict[int, list[dict[str, Any]]] = {}
    calls: dict[str, list[tuple[int, int]]] = {}
    before = 0
    for message in turn:
        for number, call in enumerate(message.get("tool_calls") or ()):
            # Some servers repeat the ids of their calls in each answer.
            same_answer = calls.get(call.get("id") or "", [])[-1:]
            if same_answer and same_answer[0][0] != id(message):
                calls[call.get("id") or ""] = []
            calls.setdefault(call.get("id") or "", []).append((id(message), number))
        if message["role"] != "tool":
            before = id(message)
            continue
        places = calls.get(message.get("tool_call_id") or "")
        if places:
            place = next((place for place in places if place not in results), places[-1])
            results.setdefault(place, []).append(message)
        else:
            orphans.setdefault(before, []).append(message)
    return results, orphans


def _joined(results: list[dict[str, Any]]) -> dict[str, Any]:
    contents = [result.get("content") or "" for result in results]
    if len(contents) == 1:
        return results[0]
    if all(isinstance(content, str) for content in contents):
        return {**results[0], "content": "\n\n".join(filter(None, contents))}
    parts = [[{"type": "text", "text": c}] if isinstance(c, str) else c for c in contents]
    return {**results[0], "content": [part for some in parts for part in some]}


def _with_call(result: dict[str, Any], used: set[str]) -> Iterator[dict[str, Any]]:
    """Yield a result after a call made for it."""
    call_id = _unique(result.get("tool_call_id"), used)
    function = {"name": result.get("name") or "tool", "arguments": "{}"}
    call = {"id": call_id, "type": "function", "function": function}
    yield {"role": "assistant", "content": "", "tool_calls": [call]}
    yield {**result, "tool_call_id": call_id}


def _unique(call_id: Any, used: set[str]) -> str:
    wanted = call_id or "call"
    unique, number = wanted, 1
    while unique in used or (not call_id and unique == wanted):
        unique, number = f"{wanted}_{number}", number + 1
    used.add(unique)
    return unique
