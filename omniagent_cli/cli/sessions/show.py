"""`omniagent sessions show`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from omniagent_cli import parsing
from omniagent_cli.agent.context.cost import Tally, tally, usage_line
from omniagent_cli.agent.context.summary import Summary, summaries_of, summary_of
from omniagent_cli.agent.tools.tool_results import with_full_output
from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import AnyId, Replace, completed_by
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import UsageError
from omniagent_cli.formats import EXPORTED, exported_formats
from omniagent_cli.models import Message, SessionSummary
from omniagent_cli.text.sanitize import plain_field, visible
from omniagent_cli.ui import transcript
from omniagent_cli.ui.cells import wrap_cells, wrap_prose
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.terminal import LineWriter
from omniagent_cli.ui.usage import usage_record

_LOOK_AGAIN_SECONDS = 0.5


def show(
    ctx: typer.Context,
    *,
    id_: AnyId,
    last: Annotated[
        int | None,
        typer.Option("--last", "-n", metavar="N", help="show only the last N messages"),
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="wait for new messages and print them, until Ctrl-C"),
    ] = False,
    raw: Annotated[
        bool,
        typer.Option("--raw", help="print only the texts, without rendering Markdown"),
    ] = False,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="print complete tool results, also those truncated for the model"
        ),
    ] = False,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help=f"write it in an export format: {EXPORTED}",
            **completed_by(exported_formats()),
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="write it to this file, such as x.html for a browser",
        ),
    ] = None,
    yes: Replace = False,
) -> None:
    """Show a session and its messages."""
    context = current_context(ctx)
    parsing.check_not_negative(last, "--last")
    if format_ is not None or output is not None:
        shown = {"--json": context.json, "--follow": follow, "--raw": raw, "--whole": whole}
        _only_written({**shown, "--last": last is not None})
        _write(context, id_, format_, output, yes=yes)
        return
    if context.json and (follow or raw):
        raise UsageError(f"--json and {'--follow' if follow else '--raw'} cannot be combined")
    if follow and whole:
        raise UsageError("--follow and --whole cannot be combined")
    session_id = session_ids.resolve_for_reading(context, id_)
    if context.json:
        _show_json(context, session_id, last, whole=whole)
    elif follow:
        _follow(context, session_id, last, raw=raw)
    else:
        with context.terminal.paged() as out:
            _show_header(context, session_id, out, raw=raw)
            summary = summary_of(context.store, session_id)
            messages = _messages(context, session_id, last, whole=whole)
            marks = context.terminal.is_terminal and not raw
            hosts = transcript.hosts_of(context.store.iter_messages(session_id)) if marks else {}
            _show_messages(context, messages, out, raw=raw, summary=summary, hosts=hosts)


def _write(
    context: Context, id_: str, format_name: str | None, output: Path | None, *, yes: bool
) -> None:
    from omniagent_cli.cli.framework.export_target import (  # not needed by a plain `show`
        ExportTarget,
        write,
    )

    target = ExportTarget(format_name, output, yes=yes)
    write(context, [session_ids.resolve_for_reading(context, id_)], target, many=False)


def _only_written(given_too: dict[str, bool]) -> None:
    """Reject display options when the session is written to a file."""
    for option, is_given in given_too.items():
        if is_given:
            raise UsageError(
                f"--format and -o write the whole session and cannot be combined with {option}"
            )


def _messages(
    context: Context, session_id: str, last: int | None, *, whole: bool = False
) -> Iterable[Message]:
    store = context.store
    found: Iterable[Message]
    found = (
        store.iter_messages(session_id) if last is None else store.messages(session_id, last=last)
    )
    if not whole:
        return found
    return (with_full_output(store, session_id, message) for message in found)


def _show_json(context: Context, session_id: str, last: int | None, *, whole: bool) -> None:
    header = context.store.header(session_id)
    count = context.store.count_messages(session_id)
    messages = list(_messages(context, session_id, last, whole=whole))
    used = _used(context, session_id)
    record = transcript.session_record(
        header,
        messages,
        count,
        usage=usage_record(used, context.settings.prices),
        summary=summary_of(context.store, session_id),
    )
    context.terminal.json(record)


def _used(context: Context, session_id: str) -> Tally:
    """Return the token usage of the whole session, also when only a part is shown."""
    summaries = summaries_of(context.store, session_id)
    return tally(context.store.iter_messages(session_id), summaries)


def _show_header(context: Context, session_id: str, out: LineWriter, *, raw: bool) -> None:
    if raw:
        return
    summary = context.store.summary(session_id)
    if not context.terminal.is_terminal:
        _show_fields(context, summary, out)
        return
    used, prices = _used(context, session_id), context.settings.prices
    usage = usage_line(used.total, used.cost(prices)) if used.models else ""
    for number, line in enumerate(transcript.header_lines(summary, utc_now(), usage)):
        for row in wrap_cells(line, context.terminal.prose_width):
            out.line(context.terminal.style(row, "bold" if number == 0 else "dim"))
    out.line()


def _show_fields(context: Context, summary: SessionSummary, out: LineWriter) -> None:
    for fields in transcript.header_fields(summary):
        context.terminal.fields(fields)
    used = _used(context, summary.id)
    if used.models:
        usage = usage_record(used, context.settings.prices)
        context.terminal.fields(["usage", json_text(usage)])
    if latest := summary_of(context.store, summary.id):
        context.terminal.fields(["summary", str(latest.up_to), plain_field(latest.text)])
    out.line()


def _show_messages(
    context: Context,
    messages: Iterable[Message],
    out: LineWriter,
    *,
    raw: bool,
    summary: Summary | None = None,
    hosts: Mapping[str | None, str] | None = None,
) -> int | None:
    """Print messages, with the summary after the last message it covers; return the last position."""
    position = None
    for message in messages:
        if raw:
            if position is not None:
                out.line()
            out.line(visible(message.text) if context.terminal.is_terminal else message.text)
        elif context.terminal.is_terminal:
            host = (hosts or {}).get(message.turn_id or message.id, "")
            for line in _lines(context, message, host):
                out.line(line)
            if summary is not None and summary.up_to == message.position:
                for line in _summary_lines(context, summary):
                    out.line(line)
        else:
            context.terminal.fields(transcript.message_fields(message))
        position = message.position
    return position


def _lines(context: Context, message: Message, host: str = "") -> Iterator[str]:
    terminal = context.terminal
    style = transcript.ROLE_STYLES.get(message.role, "bold")
    for row in wrap_cells(transcript.heading(message, utc_now(), host), terminal.prose_width):
        yield terminal.style(row, style)
    if message.role == "assistant" and message.text and not terminal.is_dumb:
        yield terminal.markdown(message.text)
        for call in message.tool_calls or []:
            yield visible(transcript.call_line(call))
    elif text := transcript.terminal_body(message):
        yield wrap_prose(text, terminal.prose_width)
    yield ""


def _summary_lines(context: Context, summary: Summary) -> Iterator[str]:
    terminal = context.terminal
    heading = transcript.summary_heading(summary, utc_now())
    for row in wrap_cells(heading, terminal.prose_width):
        yield terminal.style(row, transcript.SUMMARY_STYLE)
    yield visible(summary.text) if terminal.is_dumb else terminal.markdown(summary.text)
    yield ""


def _follow(context: Context, session_id: str, last: int | None, *, raw: bool) -> None:
    """Print the messages, then new ones as they arrive; a growing message is printed when it is complete."""
    terminal = context.terminal
    _show_header(context, session_id, terminal, raw=raw)
    position = -1
    ready = list(_messages(context, session_id, last))
    if last == 0:
        position = max(
            (m.position or 0 for m in context.store.messages(session_id, last=1)), default=-1
        )
    unfinished: tuple[int | None, str] | None = None
    while True:
        if ready and _grows(ready[-1], unfinished):
            unfinished = (ready[-1].position, ready[-1].text)
            ready.pop()
        else:
            unfinished = None
        shown = _show_messages(context, ready, terminal, raw=raw)
        if shown is not None:
            position = shown
        terminal.flush()
        time.sleep(_LOOK_AGAIN_SECONDS)
        ready = context.store.messages(session_id, after=position)


def _grows(message: Message, seen: tuple[int | None, str] | None) -> bool:
    """Return True if an answer may still be growing: stored as interrupted, and not seen unchanged before."""
    return message.status == "interrupted" and seen != (message.position, message.text)
