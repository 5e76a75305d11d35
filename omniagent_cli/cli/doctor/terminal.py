"""The terminal: what it can show, and which programs are there for what it cannot."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator

from omniagent_cli.cli.doctor.check_result import OK, WARNING, Finding, Patient
from omniagent_cli.cli.framework.context import Context

_NARROW = 40


def check(patient: Patient) -> Iterator[Finding]:
    """Look at size, colours and characters, and for a pager, an editor and the clipboard's programs."""
    context = patient.context
    terminal = context.terminal
    if not terminal.is_terminal:
        yield Finding(OK, "stdout is no terminal: plain text and no colours")
    else:
        yield from _screen(context)
    if terminal.draws_unicode:
        yield Finding(OK, f"text is written as {getattr(terminal.stdout, 'encoding', 'utf-8')}")
    else:
        do = "set LANG to a UTF-8 locale, such as C.UTF-8"
        yield Finding(
            WARNING, "only ASCII is drawn: the locale is C, or the encoding has no more", do
        )
    yield from _programs(patient)


def _screen(context: Context) -> Iterator[Finding]:
    terminal, name = context.terminal, context.environ.get("TERM", "")
    size = f"{terminal.width} columns, {terminal.height} rows"
    if terminal.is_dumb or not name:
        what = f"TERM is {name or 'not set'}, so nothing is coloured or laid out ({size})"
        yield Finding(WARNING, what, "set TERM to your terminal's name, such as xterm-256color")
    elif terminal.width < _NARROW:
        yield Finding(WARNING, f"{size}: tables are hard to read", "make the window wider")
    else:
        yield Finding(OK, f"{name}, {size}")
    if terminal.colored:
        yield Finding(OK, f"colours for a {terminal.background or 'light or dark'} background")
    elif context.environ.get("NO_COLOR"):
        yield Finding(OK, "no colours, for NO_COLOR is set")
    else:
        yield Finding(OK, "no colours")


def _programs(patient: Patient) -> Iterator[Finding]:
    from omniagent_cli.repl.clipboard import PROGRAMS
    from omniagent_cli.ui.pager import pager_command

    environ, settings = patient.context.environ, patient.settings
    pager = settings.display.pager if settings else "auto"
    if command := pager_command(pager, environ):
        yield Finding(OK, f"{command[0]} shows long output")
    else:
        yield Finding(OK, "long output is not paged", "set PAGER or display.pager to a program")
    editor = environ.get("VISUAL") or environ.get("EDITOR") or "vi"
    if _there(editor, environ.get("PATH")):
        yield Finding(OK, f"the editor is {editor}")
    else:
        yield Finding(WARNING, f"the editor {editor} is not there", "set EDITOR to one that is")
    if found := [program.name for program in PROGRAMS if program.found(environ)]:
        yield Finding(OK, f"{found[0]} reaches the clipboard")
    else:
        what = "no program reaches the clipboard; /copy asks the terminal to (OSC 52)"
        yield Finding(OK, what, "install wl-copy, xclip or xsel if your terminal does not")


def _there(editor: str, path: str | None) -> bool:
    try:
        return bool(shutil.which(shlex.split(editor)[0], path=path))
    except (ValueError, IndexError):
        return False
