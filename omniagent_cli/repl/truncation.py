"""Truncation of long messages for the screen, in time independent of their length."""

from __future__ import annotations

import re

from omniagent_cli.text.sanitize import visible
from omniagent_cli.ui.cells import cell_width, cut_cells

_FENCE = re.compile(r"(?m)^ {0,3}(`{3,}|~{3,})([^\n]*)$")
_TAIL_ROWS = 10


def beginning(text: str, rows: int, width: int) -> tuple[str, str]:
    """Return the first rows of a text, sanitized, and a description of the rest."""
    room = rows * max(width, 20)
    head = visible(text[:room])
    kept: list[str] = []
    for line in head.split("\n"):
        used = _rows(line, width)
        if used > rows:
            if not kept:
                kept.append(cut_cells(line, rows * width))
            break
        kept.append(line)
        rows -= used
    shown = "\n".join(kept)
    if len(head) == len(text) and len(shown) == len(head):
        return shown, ""
    more = head.count("\n") + text.count("\n", room) - (len(kept) - 1)
    return shown, f"{more:,} more line{'s' * (more != 1)}" if more else "the rest of a long line"


def end(text: str, rows: int, width: int) -> tuple[str, str]:
    """Return the last rows of a text, sanitized and inside their code fence, and a description of the rest."""
    room = rows * max(width, 20)
    tail = visible(text[-room:])
    kept: list[str] = []
    for line in reversed(tail.split("\n")):
        used = _rows(line, width)
        if used > rows and kept:
            break
        kept.insert(0, line[-rows * width :])
        rows -= used
        if rows <= 0:
            break
    shown = "\n".join(kept)
    cut = len(text) - len(shown)
    if cut <= 0:
        return shown, ""
    before = text.count("\n") - shown.count("\n")
    notice = f"{before:,} line{'s' * (before != 1)} before" if before else "a long line before"
    return _in_its_fence(text[:cut], shown), notice


def open_tail(text: str, width: int) -> str:
    """Return the unfinished last Markdown block of a text, to be shown again and continued."""
    fence = open_fence(text)
    if fence:
        return end(text[text.rindex(fence) :], _TAIL_ROWS, width)[0]
    return end(text[text.rfind("\n\n") + 1 :].lstrip("\n"), _TAIL_ROWS, width)[0]


def open_fence(text: str) -> str:
    """Return the opening line of the code fence that a text ends in; empty outside a fence."""
    opened: re.Match[str] | None = None
    for found in _FENCE.finditer(text):
        if opened is None:
            if "`" not in found[2] or found[1][0] == "~":
                opened = found
        elif found[1].startswith(opened[1]) and not found[2].strip():
            opened = None
    return opened[0] if opened else ""


def _in_its_fence(before: str, shown: str) -> str:
    fence = open_fence(before)
    return f"{visible(fence)}\n{shown}" if fence else shown


def _rows(line: str, width: int) -> int:
    return max(1, -(-cell_width(line.expandtabs(4)) // max(width, 1)))
