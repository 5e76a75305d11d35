"""`omniagent sessions stats`: counts, activity, tokens and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import typer

from omniagent_cli.agent.context.cost import Prices, cost, format_dollars, token_counts
from omniagent_cli.agent.context.summary import Summary, summaries_of
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message, SessionSummary
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.activity_map import activity_rows
from omniagent_cli.ui.cells import Column, Table
from omniagent_cli.ui.terminal import LineWriter
from omniagent_cli.ui.views import counted

_LARGEST = 5
_MONTHS_SHOWN = 12
_PAGE = 500
_TOKENS = ("input_tokens", "output_tokens")
_CACHE = {"cached_tokens": "CACHED", "cache_write_tokens": "CACHE WRITE"}


@dataclass(slots=True)
class _Totals:
    """Totals over all sessions; only the largest sessions are kept individually."""

    sessions: int = 0
    archived: int = 0
    messages: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    days: dict[date, Counter[str]] = field(default_factory=dict)
    models: dict[str, Counter[str]] = field(default_factory=dict)
    largest: list[SessionSummary] = field(default_factory=list)

    def add_session(self, summary: SessionSummary) -> None:
        self.sessions += 1
        self.archived += summary.archived
        self.messages += summary.message_count
        ranked = sorted([*self.largest, summary], key=lambda s: (-s.message_count, s.id))
        self.largest = ranked[:_LARGEST]

    def add(self, message: Message) -> None:
        self.roles[message.role] += 1
        moment = message.created_at
        day = None if moment is None else self._on(moment)
        if day is not None:
            day["messages"] += 1
        if message.role == "assistant":
            self._of(message.model)["answers"] += 1
            self._add_usage(message.model, day, message.usage)

    def add_summaries(self, summaries: Sequence[Summary]) -> None:
        for summary in summaries:
            moment = summary.created_at
            self._add_usage(summary.model, self._on(moment) if moment else None, summary.usage)

    def _add_usage(
        self, model: str | None, day: Counter[str] | None, usage: Mapping[str, Any] | None
    ) -> None:
        if used := token_counts(usage):
            self._of(model).update(used)
            if day is not None:
                day.update(used)

    def _of(self, model: str | None) -> Counter[str]:
        return self.models.setdefault(model or "", Counter())

    def _on(self, moment: datetime) -> Counter[str]:
        return self.days.setdefault(moment.astimezone().date(), Counter())

    def months(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for day, counts in sorted(self.days.items()):
            found.setdefault(f"{day:%Y-%m}", Counter()).update(counts)
        return found

    def record(self, prices: Prices) -> dict[str, Any]:
        return {
            "sessions": self.sessions,
            "archived": self.archived,
            "messages": self.messages,
            "roles": dict(self.roles),
            "days": [
                {"day": day.isoformat(), **_counts(counts)}
                for day, counts in sorted(self.days.items())
            ],
            "months": [
                {"month": month, **_counts(counts)} for month, counts in self.months().items()
            ],
            "models": [
                {
                    "model": model,
                    "answers": tokens["answers"],
                    **{key: tokens[key] for key in _TOKENS},
                    **{key: tokens[key] for key in _CACHE if tokens[key]},
                    **_cost(tokens, prices.get(model)),
                }
                for model, tokens in self._by_tokens()
            ],
            "largest": [
                {"id": summary.id, "title": summary.title, "message_count": summary.message_count}
                for summary in self.largest
            ],
        }

    def _by_tokens(self) -> list[tuple[str, Counter[str]]]:
        return sorted(
            self.models.items(),
            key=lambda pair: (-pair[1]["input_tokens"] - pair[1]["output_tokens"], pair[0]),
        )


def _counts(counts: Counter[str]) -> dict[str, int]:
    return {key: counts[key] for key in ("messages", *_TOKENS)}


def _cost(tokens: Counter[str], price: Mapping[str, float] | None) -> dict[str, float]:
    """Return the cost of tokens as a JSON field; empty without a price."""
    spent = cost(tokens, price)
    return {} if spent is None else {"cost": spent}


def stats(ctx: typer.Context) -> None:
    """Count sessions, messages and tokens by day, month and model, and list the largest sessions.

    Cost is shown for models with a price (settings prices."MODEL".input, .output and others).
    """
    context = current_context(ctx)
    record = _totals(context).record(context.settings.prices)
    if context.json:
        context.terminal.json(record)
    elif context.terminal.is_terminal:
        with context.terminal.paged() as out:
            _show_person(context, record, out)
    else:
        _show_pipe(context, record)


def _totals(context: Context) -> _Totals:
    """Read all sessions once, page by page, in bounded memory."""
    totals, cursor = _Totals(), None
    with context.terminal.progress(
        "reading sessions", context.store.count(archived=None)
    ) as advance:
        while True:
            page = context.store.list(limit=_PAGE, cursor=cursor, archived=None, sort="created")
            for summary in page:
                totals.add_session(summary)
                _add_messages(context, totals, summary.id)
                advance(1)
            if (cursor := page.next_cursor) is None:
                return totals


def _add_messages(context: Context, totals: _Totals, session_id: str) -> None:
    try:
        for message in context.store.iter_messages(session_id):
            totals.add(message)
    except SessionNotFound:
        return  # removed since it was listed
    totals.add_summaries(summaries_of(context.store, session_id))


def _show_pipe(context: Context, record: dict[str, Any]) -> None:
    fields = context.terminal.fields
    for key in ("sessions", "archived", "messages"):
        fields([key, str(record[key])])
    for role, number in sorted(record["roles"].items()):
        fields(["role", role, str(number)])
    for row in record["months"]:  # the days are in --json
        fields(["month", row["month"], *(str(row[name]) for name in ("messages", *_TOKENS))])
    for row in record["models"]:
        counts = [str(row[key]) for key in ("answers", *_TOKENS)]
        counts += [f"{row['cost']:.9g}"] if "cost" in row else []
        fields(["model", plain_field(row["model"]), *counts])
    for row in record["largest"]:
        fields(["largest", plain_field(row["id"]), str(row["message_count"])])


def _show_person(context: Context, record: dict[str, Any], out: LineWriter) -> None:
    table = context.terminal.table
    sessions = counted(record["sessions"], "session")
    archived = f" ({record['archived']:,} archived)" if record["archived"] else ""
    out.line(f"{sessions}{archived}, {counted(record['messages'], 'message')}")
    _show_activity(context, record, out)
    if len(record["months"]) > 1:
        out.line()
        table(_month_table(record["months"][-_MONTHS_SHOWN:]), out)
    if record["models"]:
        out.line()
        table(_model_table(record["models"]), out)
    if record["largest"]:
        out.line()
        rows = [
            [one_line(row["id"]), f"{row['message_count']:,}", one_line(row["title"])]
            for row in record["largest"]
        ]
        columns = [Column("LARGEST", "cyan", shrink=True), Column("MESSAGES", right=True)]
        table(Table([*columns, Column("TITLE", shrink=True)], rows), out)


def _month_table(months: Sequence[dict[str, Any]]) -> Table:
    rows = [
        [row["month"], *(f"{row[key]:,}" for key in ("messages", *_TOKENS))]
        for row in reversed(months)
    ]
    titles = ("MESSAGES", "TOKENS IN", "TOKENS OUT")
    return Table([Column("MONTH", "cyan"), *(Column(name, right=True) for name in titles)], rows)


def _model_table(models: Sequence[dict[str, Any]]) -> Table:
    """Return the table of tokens per model, with a cost column if any model has a price."""
    priced = any("cost" in row for row in models)
    cached = {key: title for key, title in _CACHE.items() if any(key in row for row in models)}
    rows = []
    for row in models:
        cells = [one_line(row["model"]) or "unknown"]
        cells += [f"{row.get(key, 0):,}" for key in ("answers", *_TOKENS, *cached)]
        if priced:
            cells.append(format_dollars(row["cost"]) if "cost" in row else "-")
        rows.append(cells)
    titles = ["ANSWERS", "TOKENS IN", "TOKENS OUT", *cached.values(), *(["COST"] if priced else [])]
    columns = [Column(name, right=True) for name in titles]
    return Table([Column("MODEL", "cyan", shrink=True), *columns], rows)


def _show_activity(context: Context, record: dict[str, Any], out: LineWriter) -> None:
    terminal = context.terminal
    days = {date.fromisoformat(row["day"]): row["messages"] for row in record["days"]}
    today = utc_now().astimezone().date()
    rows = activity_rows(days, today, terminal.width, unicode=terminal.draws_unicode)
    if rows:
        out.line()
    for row in rows:
        out.line(terminal.style(row[:4], "dim") + terminal.style(row[4:], "green"))
