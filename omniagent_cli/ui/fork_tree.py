"""Trees of forks as lines for terminals, fields for pipes and records for JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omniagent_cli.durations import describe_age
from omniagent_cli.json_format import format_time
from omniagent_cli.models import SessionSummary
from omniagent_cli.stores.fork_links import Branch, fork_trees
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import cell_width, wrap_cells
from omniagent_cli.ui.terminal import Terminal
from omniagent_cli.ui.views import counted


@dataclass(frozen=True, slots=True)
class TreeRow:
    """A session of a tree: the lines drawn before it, its depth, and the id of the session it was copied from."""

    branch: Branch
    guide: str = ""
    depth: int = 0
    parent: str | None = None


def tree_rows(trees: Sequence[Branch]) -> Iterator[TreeRow]:
    """Yield the sessions of trees, each before its forks."""
    for root in trees:
        waiting = [(TreeRow(root), "")]  # with the guide of its forks
        while waiting:
            row, below = waiting.pop()
            yield row
            forks = row.branch.forks
            for place, fork in reversed(list(enumerate(forks))):
                corner, line = ("└─ ", "   ") if place == len(forks) - 1 else ("├─ ", "│  ")
                child = TreeRow(fork, below + corner, row.depth + 1, row.branch.id)
                waiting.append((child, below + line))


def rows_of(summaries: Iterable[SessionSummary], session_id: str | None = None) -> list[TreeRow]:
    """Return the rows of all trees, or of the tree of one session; empty for a session without forks."""
    rows: list[TreeRow] = []
    for tree in fork_trees(summaries):
        own = list(tree_rows([tree]))
        if session_id is None or any(row.branch.id == session_id for row in own):
            rows += own
    return rows


def tree_line(row: TreeRow, terminal: Terminal, now: datetime, current: str = "") -> str:
    """Return a row as a line for a terminal, with the current session marked; its facts follow below where they do not fit."""
    branch, summary = row.branch, row.branch.summary
    at = "" if branch.at is None else terminal.style(f"#{branch.at} ", "dim")
    name = terminal.style(one_line(branch.id), "cyan" if summary else "dim")
    line = f"{terminal.style(row.guide, 'dim')}{at}{name}"
    if summary is None:
        return f"{line}  {terminal.style('(deleted)', 'dim')}"
    facts = f"{counted(summary.message_count, 'message')}, {describe_age(summary.updated_at, now)}"
    title = one_line(summary.title or summary.preview)
    note = "(this session)" if branch.id == current else ""
    head = f"{row.guide}{'' if branch.at is None else f'#{branch.at} '}{one_line(branch.id)}"
    if cell_width("  ".join(filter(None, (head, title, facts, note)))) > terminal.width:
        indent = " " * (len(row.guide) + 2)
        below = "  ".join(filter(None, (title, facts, note)))
        rows = wrap_cells(below, max(8, terminal.width - len(indent)))
        return "\n".join([line, *(indent + terminal.style(text, "dim") for text in rows)])
    mark = terminal.style(f"  {note}", "bold") if note else ""
    return f"{line}  {title}  {terminal.style(facts, 'dim')}{mark}"


def tree_fields(row: TreeRow) -> list[str]:
    """Return depth, id, the position of the fork, the session it was copied from, title, and number of messages."""
    branch, summary = row.branch, row.branch.summary
    return [
        str(row.depth),
        plain_field(branch.id),
        "" if branch.at is None else str(branch.at),
        plain_field(row.parent or ""),
        plain_field(summary.title if summary else ""),
        str(summary.message_count) if summary else "",
    ]


def tree_record(row: TreeRow) -> dict[str, Any]:
    """Return the JSON form of a row; a deleted session has only its id and place."""
    branch, summary = row.branch, row.branch.summary
    record: dict[str, Any] = {
        "id": branch.id,
        "depth": row.depth,
        "forked_from": row.parent,
        "forked_at": branch.at,
        "exists": summary is not None,
    }
    if summary is not None:
        record["title"] = summary.title
        record["message_count"] = summary.message_count
        record["updated_at"] = format_time(summary.updated_at)
    return record
