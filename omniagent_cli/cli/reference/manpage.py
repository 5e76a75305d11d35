"""The man page, generated from the commands and the manual: ``python -m omniagent_cli.cli.reference.manpage``.

The language is man(7) as read by groff and mandoc; all text is escaped.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from omniagent_cli.cli.reference.manual import PAGES
from omniagent_cli.cli.reference.manual import page_text as manual_text
from omniagent_cli.cli.reference.markdown_to_man import man_lines

MAKE = "python -m omniagent_cli.cli.reference.manpage"
"""The command that regenerates the page."""

PAGE_FILE = Path(__file__).parents[2] / "man" / "omniagent.1"

_DATE = "2026-11-21"
"""The date of the page, updated with each release."""

_FILES = (
    ("~/.config/omniagent/config.toml", "settings; 'omniagent config edit' opens them"),
    ("~/.config/omniagent/keys.json", "keys of providers, if there is no system keyring; mode 0600"),
    ("~/.local/share/omniagent/sessions.db", "the default store; mode 0600"),
    ("~/.local/state/omniagent/", "state: the last used session, prompt history, trusted projects"),
    ("~/.cache/omniagent/", "caches: model names, session ids for TAB"),
    (".omniagent.toml", "project settings, found upwards from the working directory; see 'omniagent config trust'"),
)  # fmt: skip


def page_text() -> str:
    """Return the source of the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from omniagent_cli._version import __version__
    from omniagent_cli.cli.framework.command_groups import LazyGroup, shared_options
    from omniagent_cli.cli.framework.command_table import COMMANDS

    root = LazyGroup("omniagent", COMMANDS, root=True)
    context = typer.Context(root, info_name="omniagent")
    yield f'.\\" Made by: {MAKE}'
    yield f'.TH OMNIAGENT 1 {_DATE} "omniagent {_escaped(__version__)}" "User Commands"'
    yield from (".SH NAME", "omniagent \\- " + _escaped(_sentence(COMMANDS.help)))
    yield from (".SH SYNOPSIS", ".B omniagent", "[OPTIONS] COMMAND [ARGS]...")
    yield from (".SH DESCRIPTION", *_description())
    yield ".SH COMMANDS"
    yield from _commands(root, COMMANDS, context, ())
    yield from (".SH OPTIONS OF EVERY COMMAND",)
    yield from _options([*shared_options()], context)
    yield from (".TP", ".B \\-\\-json", "print one JSON document; see", ".B omniagent help json")
    for topic in PAGES:
        yield from man_lines(manual_text(topic), _line)
    yield ".SH ENVIRONMENT"
    yield from _environment()
    yield ".SH FILES"
    for name, text in _FILES:
        yield from _tagged(f".I {_escaped(name)}", text)
    yield ".SH EXIT STATUS"
    yield from _exit_codes()


def _description() -> Iterator[str]:
    text = (
        "Chat with language models from a terminal. Every conversation is saved before the request is sent, and can be "
        "searched, edited, exported and undone. On a terminal commands print tables and color; in a pipe "
        "tab\\-separated text without truncation, or one JSON document."
    )
    yield text
    yield ".PP"
    yield "Commands that read a session accept a unique prefix of its id, and @ for the last used session;"
    yield "commands that change or remove sessions take full ids."


def _commands(group: Any, table: Any, context: Any, path: tuple[str, ...]) -> Iterator[str]:
    from omniagent_cli.cli.framework.command_table import Group

    for name, row in table.commands.items():
        command = group.get_command(context, name)
        inner = typer.Context(command, info_name=name, parent=context)
        if isinstance(row, Group):
            yield from _commands(command, row, inner, (*path, name))
        else:
            yield from _command(command, row, inner, (*path, name))


def _command(command: Any, row: Any, context: Any, path: tuple[str, ...]) -> Iterator[str]:
    from omniagent_cli.cli.framework.command_groups import own_parameters

    own = own_parameters(command, context)
    arguments = [one for one in own if one.param_type_name == "argument"]
    words = [_metavar(one) for one in arguments if not getattr(one, "hidden", False)]
    yield f".SS {' '.join(('omniagent', *path, *map(_escaped, words)))}"
    for line in filter(None, (part.strip() for part in (command.help or row.help).split("\n"))):
        yield _line(line)
    yield from _options([one for one in own if one.param_type_name == "option"], context)
    yield from (".PP", "Examples:", ".PP", ".EX", ".nh")
    yield from (_line(f"  {example}") for example in row.examples)
    yield from (".hy", ".EE")


def _options(options: list[Any], context: Any) -> Iterator[str]:
    for option in options:
        record = option.get_help_record(context)
        if record and "--help" not in option.opts:
            names, text = record
            yield from _tagged(f".B {_escaped(names)}", text)


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _environment() -> Iterator[str]:
    from omniagent_cli.cli.reference.environment import variables

    for title, group in variables().items():
        yield f".SS {_escaped(title)}"
        for one in group:
            yield from _tagged(f".B {_escaped(', '.join(one.names))}", one.text)


def _exit_codes() -> Iterator[str]:
    from omniagent_cli.cli.reference.help import CODES

    for code, text in CODES:
        yield from _tagged(f".B {code}", text)


def _tagged(tag: str, text: str) -> Iterator[str]:
    yield from (".TP", tag, _line(" ".join(text.split())))


def _line(text: str) -> str:
    """Return a line of text, escaped where the formatter would interpret it as a request."""
    escaped = _escaped(text)
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


def _escaped(text: str) -> str:
    for character, written in (("\\", "\\e"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"), ("~", "\\(ti"), ('"', "\\(dq")):  # fmt: skip
        text = text.replace(character, written)
    return text


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def main() -> int:
    """Write the page if it changed."""
    made = page_text()
    before = PAGE_FILE.read_text(encoding="utf-8") if PAGE_FILE.exists() else ""
    if before != made:
        PAGE_FILE.parent.mkdir(exist_ok=True)
        PAGE_FILE.write_text(made, encoding="utf-8")
        sys.stdout.write(f"{PAGE_FILE} regenerated\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
