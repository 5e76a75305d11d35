"""Tool calls as rows, one per call, completed by its result."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from omniagent_cli.models import ToolCall
from omniagent_cli.text.sanitize import first_line, one_line
from omniagent_cli.ui.cells import cut_cells

CallStatus = Literal["ok", "failed", "interrupted", "denied"]

_QUICK_SECONDS = 1.0
_RESULT_LENGTH = 200
_ARGUMENT_LENGTH = 60
_MARKS = {"ok": "✓", "failed": "✗", "interrupted": "✗", "denied": "-"}


def call_key(call: ToolCall) -> str:
    """Return the key that identifies a call within its answer."""
    return call.get("id") or call_text(call)


def call_text(call: ToolCall) -> str:
    """Return a call as ``name(city: Paris, days: 3)`` on one line."""
    function = call["function"]
    return f"{one_line(function['name'])}({_arguments(function.get('arguments') or '')})"


def _arguments(text: str) -> str:
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return one_line(text)
    if not isinstance(arguments, dict):
        return one_line(text)
    return one_line(", ".join(f"{name}: {_value(value)}" for name, value in arguments.items()))


def _value(value: object) -> str:
    if isinstance(value, str):
        return first_line(value, _ARGUMENT_LENGTH)
    return first_line(json.dumps(value, ensure_ascii=False), _ARGUMENT_LENGTH)


@dataclass(slots=True)
class _Call:
    """Tool call, running until it has a status."""

    text: str
    started_at: float
    status: CallStatus | None = None
    seconds: float = 0.0
    result: str = ""


class ToolCallRows:
    """Calls of one answer in order; a finished call is printed after those above it."""

    def __init__(self) -> None:
        self._calls: dict[str, _Call] = {}
        self._finished_keys: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._calls)

    def begin(self, call: ToolCall, now: float) -> None:
        """Add a running call."""
        self._finished_keys.discard(call_key(call))
        self._calls[call_key(call)] = _Call(call_text(call), now)

    def end(self, call: ToolCall, status: CallStatus, result: str, now: float) -> None:
        """Set the result of a call; later results are ignored."""
        if call_key(call) in self._finished_keys:
            return
        row = self._calls.setdefault(call_key(call), _Call(call_text(call), now))
        if row.status is None:
            row.status, row.seconds = status, now - row.started_at
            row.result = one_line(first_line(result, _RESULT_LENGTH))

    def interrupt(self, now: float) -> None:
        """Mark running calls as interrupted."""
        for call in self._calls.values():
            if call.status is None:
                call.status, call.seconds = "interrupted", now - call.started_at

    def take_finished(self) -> list[tuple[CallStatus, str, str]]:
        """Remove and return finished calls without a running one above them: status, call and outcome."""
        taken = []
        while self._calls:
            key = next(iter(self._calls))
            call = self._calls[key]
            if call.status is None:
                break
            taken.append((call.status, call.text, _outcome_text(call)))
            del self._calls[key]
            self._finished_keys.add(key)
        return taken

    def rows(self, spinner: str, now: float, width: int) -> list[tuple[CallStatus | None, str]]:
        """Return the current row of each call with its status."""
        return [(call.status, _row(call, spinner, now, width)) for call in self._calls.values()]


def _row(call: _Call, spinner: str, now: float, width: int) -> str:
    if call.status is not None:
        return call_row(call.status, call.text, _outcome_text(call), width)
    seconds = now - call.started_at
    waited = f" {seconds:.0f} s" if seconds >= _QUICK_SECONDS else ""
    return f"{spinner} {cut_cells(call.text, max(8, width - 2 - len(waited)))}{waited}"


def call_row(status: CallStatus, text: str, outcome: str, width: int) -> str:
    """Return a finished call on one row."""
    shown = cut_cells(text, max(12, width // 2))
    return cut_cells(f"{_MARKS[status]} {shown} {outcome}", width)


def _outcome_text(call: _Call) -> str:
    summary = "denied"  # its duration would be the time that the user thought
    if call.status != "denied":
        summary = f"{call.status}, {format_seconds(call.seconds)}"
    return f"{summary}: {call.result}" if call.result else summary


def format_seconds(seconds: float) -> str:
    """Format a duration in seconds: one decimal below 10 s, else none."""
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:,.0f} s"
