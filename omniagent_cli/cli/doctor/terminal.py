"""Check of the terminal: size, color, encoding, and helper programs."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator

from omniagent_cli.cli.doctor.check_result import INFO, OK, WARNING, CheckContext, Finding
from omniagent_cli.cli.framework.context import Context

_NARROW = 40


def check(checked: CheckContext) -> Iterator[Finding]:
    """Check size, color and encoding, and look for a pager, an editor and clipboard programs."""
    context = checked.context
    terminal = context.terminal
    if not terminal.is_terminal:
        yield Finding(OK, "stdout is not a terminal: plain text without color")
    else:
        yield from _screen(context)
    if terminal.draws_unicode:
        yield Finding(OK, f"output encoding: {getattr(terminal.stdout, 'encoding', 'utf-8')}")
    else:
        do = "set LANG to a UTF-8 locale, such as C.UTF-8"
        yield Finding(
            WARNING, "only ASCII characters are displayed, because of the locale or encoding", do
        )
    yield from _programs(checked)


def _screen(context: Context) -> Iterator[Finding]:
    terminal, name = context.terminal, context.environ.get("TERM", "")
    size = f"{terminal.width} columns, {terminal.height} rows"
    if terminal.is_dumb or not name:
        what = f"TERM is {name or 'not set'}, which disables color and layout ({size})"
        yield Finding(WARNING, what, "set TERM to your terminal's name, such as xterm-256color")
    elif terminal.width < _NARROW:
        yield Finding(WARNING, f"{size}: tables are hard to read", "widen the window")
    else:
        yield Finding(OK, f"{name}, {size}")
    if terminal.colored:
        yield Finding(OK, f"colors for a {terminal.background or 'light or dark'} background")
    elif context.environ.get("NO_COLOR"):
        yield Finding(INFO, "no color, because NO_COLOR is set")
    else:
        yield Finding(INFO, "no color")


def _programs(checked: CheckContext) -> Iterator[Finding]:
    from omniagent_cli.repl.clipboard import PROGRAMS
    from omniagent_cli.ui.pager import pager_command

    environ, settings = checked.context.environ, checked.settings
    pager = settings.display.pager if settings else "auto"
    if command := pager_command(pager, environ):
        yield Finding(OK, f"{command[0]} pages long output")
    else:
        yield Finding(INFO, "long output is not paged", "set PAGER or display.pager to a program")
    editor = environ.get("VISUAL") or environ.get("EDITOR") or "vi"
    if _there(editor, environ.get("PATH")):
        yield Finding(OK, f"the editor is {editor}")
    else:
        yield Finding(
            WARNING, f"the editor {editor} was not found", "set EDITOR to an installed editor"
        )
    if found := [program.name for program in PROGRAMS if program.found(environ)]:
        yield Finding(OK, f"{found[0]} provides the clipboard")
    else:
        what = "no clipboard program; /copy uses the terminal (OSC 52)"
        yield Finding(
            INFO, what, "install wl-copy, xclip or xsel if your terminal does not support it"
        )


def _there(editor: str, path: str | None) -> bool:
    try:
        return bool(shutil.which(shlex.split(editor)[0], path=path))
    except (ValueError, IndexError):
        return False
