"""`omniagent help`: the manual, the help of a command, and reference topics: variables, exit codes, JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from omniagent_cli.cli.framework import exits
from omniagent_cli.cli.framework.command_table import COMMANDS, commands_below
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.reference.manual import PAGES, show_page
from omniagent_cli.errors import UsageError
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.text.sanitize import plain_field
from omniagent_cli.ui.cells import wrap_cells

if TYPE_CHECKING:
    from omniagent_cli.cli.reference.environment import Variable

Rows = Iterable[tuple[str, str]]

CODES = (
    (exits.DONE, "done; also when there was nothing to do"),
    (exits.FAILED, "failed or refused: not found, not confirmed, damage left, an answer that does not follow --schema"),
    (exits.USAGE, "the command line, a setting or a variable is wrong"),
    (exits.UNREACHABLE, "a store or a model could not be reached or used; trying again later may help"),
    (exits.BUG, "a bug in omniagent; a traceback precedes the message"),
    (exits.INTERRUPTED, "interrupted by Ctrl-C (SIGINT)"),
    (exits.CLOSED_PIPE, "the reader closed the pipe (SIGPIPE), as head does"),
    (exits.TERMINATED, "ended by SIGTERM"),
)  # fmt: skip
"""Exit codes and their meanings."""

_JSON = """\
With --json a command prints exactly one JSON document to stdout: on one line in a pipe, indented on a terminal. Notes \
and errors go to stderr; if a command fails before it has data, stdout is empty.
This is version {version} of these documents. Keys may be added, so programs should ignore unknown keys; no key is \
removed, renamed, or changed in type or meaning within a version.
Times are RFC 3339 in UTC; durations are in seconds, sizes in bytes. Texts are unmodified and may contain terminal \
control sequences.
'omniagent help json COMMAND' prints the JSON Schema (draft 2020-12) of one of these:"""


class Topic(NamedTuple):
    """A help topic.

    Attributes:
        text: its subject, in one line.
        show: prints it; receives the words after its name.
    """

    text: str
    show: Callable[[Context, Sequence[str]], None]


def explain(
    ctx: typer.Context,
    *,
    topic: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOPIC]...",
            help="a page of the manual or a command; without one, the list of commands",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show a page of the manual, or the help of a command."""
    context, words = current_context(ctx), topic or []
    if words and words[0] in TOPICS and (len(words) == 1 or words[0] not in PAGES):
        TOPICS[words[0]].show(context, words[1:])
        return
    _check_command(words)
    from omniagent_cli.cli.framework.command_groups import LazyGroup

    root = LazyGroup("omniagent", COMMANDS, root=True)
    given = [*words, "--help"]
    width = ctx.terminal_width
    with root.make_context("omniagent", given, obj=context, terminal_width=width) as inner:
        root.invoke(inner)


def _check_command(words: Sequence[str]) -> None:
    """Raise UsageError with close matches unless the words name a command."""
    known = {" ".join(path) for path, _ in commands_below(COMMANDS)}
    wanted = " ".join(words)
    if not words or wanted in known:
        return
    from difflib import get_close_matches

    inner = [name for name in sorted(known) if name.split()[-1] == words[-1]]
    close = get_close_matches(wanted, [*TOPICS, *known], n=2)
    found = inner or close
    hint = (
        f"did you mean 'omniagent help {found[0]}'?"
        if found
        else f"topics: {', '.join(TOPICS)}; 'omniagent --help' lists the commands"
    )
    raise UsageError(f"no help on {wanted!r}; {hint}")


def _environment(context: Context, words: Sequence[str]) -> None:
    from omniagent_cli.cli.reference.environment import variables

    _nothing_after("environment", words)

    def rows(of: Iterable[Variable]) -> Rows:
        return [(", ".join(one.names), one.text) for one in of]

    _show(
        context,
        "Environment variables. They override settings files; command-line options override them.",
        [(title, rows(of)) for title, of in variables().items()],
    )


def _exit_codes(context: Context, words: Sequence[str]) -> None:
    _nothing_after("exit-codes", words)
    _show(
        context,
        "Exit codes of commands.",
        [("Exit codes", [(str(code), text) for code, text in CODES])],
    )


def _json(context: Context, words: Sequence[str]) -> None:
    from omniagent_cli.cli.reference.json_shapes import SHAPES, VERSION, schema_of

    if words:
        command = " ".join(words)
        if command not in SHAPES:
            raise UsageError(_no_json(command, SHAPES))
        context.terminal.json(schema_of(command))
        return
    rows = {" ".join(path): row for path, row in commands_below(COMMANDS)}
    _show(
        context,
        _JSON.format(version=VERSION),
        [("Commands", [(name, rows[name].help) for name in SHAPES])],
    )


def _no_json(command: str, known: Iterable[str]) -> str:
    otherwise = "run 'omniagent help json' for a list"
    hint = did_you_mean(command, known, otherwise, at_most=1, shown=repr)
    return f"'omniagent {command}' prints no JSON; {hint}"


def _nothing_after(topic: str, words: Sequence[str]) -> None:
    if words:
        raise UsageError(f"'omniagent help {topic}' takes no more words; leave out {words[0]!r}")


def _show(context: Context, lead: str, sections: Iterable[tuple[str, Rows]]) -> None:
    """Print names with their meanings: aligned on a terminal, tab-separated in a pipe."""
    terminal = context.terminal
    if not terminal.is_terminal:
        if "\n" in lead:
            terminal.line(lead)
        for _, rows in sections:
            for name, text in rows:
                terminal.fields([plain_field(name), plain_field(text)])
        return
    width = max(20, min(terminal.width, 100))
    with terminal.paged() as out:
        for paragraph in lead.split("\n"):
            for line in wrap_cells(paragraph, width):
                out.line(line)
        for title, rows in sections:
            out.line()
            out.line(terminal.style(f"{title}:", "bold"))
            for name, text in rows:
                out.line(f"  {terminal.style(name, 'cyan')}")
                for line in wrap_cells(text, width - 6):
                    out.line(f"      {line}")


def _page(topic: str) -> Topic:
    return Topic(PAGES[topic], lambda context, _: show_page(context, topic))


TOPICS = {topic: _page(topic) for topic in PAGES} | {
    "environment": Topic("environment variables", _environment),
    "exit-codes": Topic("exit codes of commands", _exit_codes),
    "json": Topic("the documents that --json prints", _json),
}
"""Topics by the word after `omniagent help`; a page takes precedence over a command of the same name."""
