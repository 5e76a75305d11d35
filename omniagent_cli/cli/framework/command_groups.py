"""Command groups that import a command only when it runs, and the options that all commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from omniagent_cli.cli.framework.command_table import (
    COMMANDS,
    FIRST_STEPS,
    Group,
    Row,
    commands_below,
)
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import completed_by
from omniagent_cli.errors import UsageError
from omniagent_cli.parsing import alternatives, check_choice

if TYPE_CHECKING:
    from omniagent_cli.ui.terminal import Terminal

    # Typer bundles click, whose types have no public names there.
    Parameter = Any
    Formatter = Any

_COLORS = ("auto", "always", "never")

_ALIASES = {
    "ls": ("list",),
    "rm": ("delete", "remove"),
    "del": ("delete",),
    "remove": ("delete",),
    "mv": ("rename",),
    "cp": ("fork",),
    "copy": ("fork",),
    "cat": ("show",),
    "view": ("show",),
    "history": ("show",),
    "find": ("search",),
    "grep": ("search",),
    "undelete": ("restore",),
    "status": ("doctor",),
    "run": ("ask",),
    "prompt": ("ask",),
    "session": ("sessions",),
    "model": ("models",),
    "key": ("keys",),
}
"""Commands of other programs, and the equivalent commands here, which they run in the same group."""

_HELP_OPTIONS: dict[str, Any] = {"help_option_names": ["--help", "-h"]}
_WORDS: dict[str, Any] = {"help_option_names": ["--help"], "ignore_unknown_options": True}


def _shared(
    names: list[str],
    text: str,
    assign: Callable[[Context, Any], None],
    metavar: str | None = None,
    words: Sequence[str] = (),
) -> TyperOption:
    def callback(ctx: typer.Context, _parameter: Parameter, value: Any) -> Any:
        if value is not None and value is not False:
            assign(current_context(ctx), value)
        return value

    return TyperOption(
        param_decls=names,
        help=text,
        metavar=metavar,
        is_flag=metavar is None,
        expose_value=False,
        callback=callback,
        **completed_by(words),
    )


def _set_store(context: Context, value: str) -> None:
    context.flags["store.url"] = value


def _set_config(context: Context, value: str) -> None:
    context.config_file = value


def _set_color(context: Context, value: str) -> None:
    check_choice(value, _COLORS, "--color")
    context.flags["display.color"] = value
    context.terminal.color = value  # also for errors before the settings are read


def _set_quiet(context: Context, _value: bool) -> None:  # noqa: FBT001  # a callback
    context.terminal.quiet = True


def _set_verbose(context: Context, _value: bool) -> None:  # noqa: FBT001  # a callback
    context.terminal.verbose = True


def _set_json(context: Context, _value: bool) -> None:  # noqa: FBT001  # a callback
    context.json = True


@lru_cache(maxsize=2)
def shared_options(*, short: bool = True) -> tuple[TyperOption, ...]:
    """Return the options that every command accepts, before and after its name.

    Args:
        short: include the short names; not for commands whose arguments may start with a dash.
    """
    quiet, verbose = (["-q"], ["-v"]) if short else ([], [])
    return (
        _shared(["--store", "--db"], "store to use: a URL, a path, or @NAME", _set_store, "URL"),
        _shared(["--config"], "read settings from this file", _set_config, "FILE"),
        _shared(["--color"], alternatives(_COLORS), _set_color, "WHEN", _COLORS),
        _shared(["--quiet", *quiet], "print only data and errors", _set_quiet),
        _shared(["--verbose", *verbose], "verbose output", _set_verbose),
    )  # fmt: skip


@lru_cache(maxsize=1)
def _json_option() -> TyperOption:
    return _shared(["--json"], "print one JSON document", _set_json)


@lru_cache(maxsize=1)
def _version_option() -> TyperOption:
    def show(ctx: typer.Context, _parameter: Parameter, value: bool) -> None:  # noqa: FBT001  # a callback
        if value:
            from omniagent_cli._version import __version__

            current_context(ctx).terminal.line(f"omniagent {__version__}")
            raise typer.Exit

    return TyperOption(
        param_decls=["--version", "-V"],
        help="show the version",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
    )


def _configure_help(option: Any) -> Any:
    """Make the ``--help`` of click print through the terminal of the context."""
    if option is not None:
        option.help = "show this help"
        option.callback = _show_help
    return option


def _show_help(ctx: typer.Context, _parameter: Parameter, value: bool) -> None:  # noqa: FBT001  # a callback
    if value and not ctx.resilient_parsing:
        current_context(ctx).terminal.write(ctx.get_help() + "\n")
        raise typer.Exit


@contextmanager
def _attach_context(ctx: Any) -> Iterator[None]:
    """Add the context of the command to errors of click that have none."""
    try:
        yield
    except typer.TyperException as error:
        if getattr(error, "ctx", None) is None:
            vars(error)["ctx"] = ctx
        raise


class Command(TyperCommand):
    """A command with its row of the table."""

    row: Row

    def get_params(self, ctx: Any) -> list[Parameter]:
        """Return the parameters of the command and the shared ones."""
        shared = shared_options(short=not self.row.words)
        own = super().get_params(ctx)
        return [*own, *([_json_option()] if self.row.json else []), *shared]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; reject ``--json`` before the name of a command without JSON output."""
        with _attach_context(ctx):
            args = _with_default_value(args, *self.row.alone) if self.row.alone else args
            rest = super().parse_args(ctx, _separate_number(args) if self.row.number else args)
        if current_context(ctx).json and not self.row.json:
            raise UsageError(f"'{ctx.command_path}' has no JSON output; remove --json")
        return rest

    def get_help_option(self, ctx: Any) -> Any:  # click's signature
        """Return ``--help``."""
        return _configure_help(super().get_help_option(ctx))

    def format_options(self, ctx: Any, formatter: Formatter) -> None:
        """Print the options of the command before the shared ones."""
        own = super().get_params(ctx)
        _format_parameters(own, self.get_params(ctx)[len(own) :], ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Formatter) -> None:  # click's signature
        """Print each example on one line, at any terminal width."""
        formatter.write(_examples(self.row))
        if self.row.json:
            path = ctx.command_path.partition(" ")[2]
            formatter.write(f"\nJSON output:\n  omniagent help json {path}\n")


def own_parameters(command: Command, ctx: Any) -> list[Parameter]:
    """Return the parameters of a command without the shared ones."""
    return TyperCommand.get_params(command, ctx)


def _separate_number(args: list[str]) -> list[str]:
    """Move an argument such as -1, which looks like an option, behind ``--``."""
    for place, word in enumerate(args):
        if word == "--":
            break
        if word[:1] == "-" and word[1:2].isdecimal():
            return [*args[:place], *args[place + 1 :], "--", word]
    return args


def _with_default_value(args: list[str], option: str, value: str) -> list[str]:
    """Add the default value to an option that has none: at the end, or before another option."""
    end = args.index("--") if "--" in args else len(args)
    words, following = args[:end], [*args[1:end], "-"]
    filled = [
        f"{option}={value}" if word == option and after.startswith("-") else word
        for word, after in zip(words, following, strict=False)
    ]
    return filled + args[end:]


class LazyGroup(TyperGroup):
    """A group of the table, which imports the module of a command when the command is looked up."""

    def __init__(self, name: str, group: Group, *, root: bool = False) -> None:
        super().__init__(
            name=name,
            help=group.help[:1].upper() + group.help[1:].rstrip(".") + ".",
            invoke_without_command=True,
            callback=None,
            rich_markup_mode=None,
            context_settings=_HELP_OPTIONS,
        )
        self._group = group
        self._root = root

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the name of the command."""
        with _attach_context(ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command of the first word, which may be an alias; a question runs `ask`."""
        name = args[0]
        if name not in self._group.commands:
            known = [word for word in _ALIASES.get(name, ()) if word in self._group.commands]
            if known:
                args = [known[0], *args[1:]]
            elif self._root and any(map(str.isspace, name)):
                args = ["ask", *args]
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:  # click's signature
        """Return the names of the commands in the order of the table."""
        return list(self._group.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build one command.

        Raises:
            UsageError: the command does not exist.
        """
        row = self._group.commands.get(cmd_name)
        if row is None:
            if cmd_name.startswith("-"):
                return None  # click reports unknown options
            raise UsageError(self._unknown(ctx, cmd_name))
        return LazyGroup(cmd_name, row) if isinstance(row, Group) else build_command(cmd_name, row)

    def _unknown(self, ctx: Any, name: str) -> str:
        from difflib import get_close_matches

        close = get_close_matches(name, self._group.commands, n=3)
        what = f"unknown command {name!r} for '{ctx.command_path}'"
        elsewhere = [path for word in (name, *_ALIASES.get(name, ())) for path in _paths_to(word)]
        if elsewhere:
            return f"{what}; did you mean '{elsewhere[0]}'?"
        if name == "version":
            return f"{what}; did you mean 'omniagent --version'?"
        if close:
            return f"{what}; did you mean {' or '.join(close)}?"
        return f"{what}; run '{ctx.command_path} --help' to see all commands"

    def invoke(self, ctx: Any) -> Any:
        """Run the named command or the default one, or print the help."""
        named = [*ctx._protected_args, *ctx.args]  # noqa: SLF001  # click has no public name for them
        if named:
            return super().invoke(ctx)
        if self._group.default is None:
            terminal = current_context(ctx).terminal
            introduce = self._root and terminal.is_terminal
            terminal.write(_first_steps(terminal) if introduce else ctx.get_help() + "\n")
            return None
        command = self.get_command(ctx, self._group.default)
        with command.make_context(self._group.default, [], parent=ctx) as inner:
            return command.invoke(inner)

    def get_params(self, ctx: Any) -> list[Parameter]:
        """Return the shared options, which groups accept too: ``sessions --store X list``."""
        own = super().get_params(ctx)
        return [
            *own,
            *([_version_option()] if self._root else []),
            _json_option(),
            *shared_options(),
        ]

    def get_help_option(self, ctx: Any) -> Any:  # click's signature
        """Return ``--help``."""
        return _configure_help(super().get_help_option(ctx))

    def format_epilog(self, ctx: Any, formatter: Formatter) -> None:  # click's signature
        """Print each example on one line, at any terminal width."""
        formatter.write(_examples(self._group))

    def format_options(self, ctx: Any, formatter: Formatter) -> None:
        """List commands and options without importing the commands."""
        for title, names in self._group.listed:
            with formatter.section(title):
                formatter.write_dl([(name, self._group.commands[name].help) for name in names])
        own = super().get_params(ctx)
        if self._root:
            own = [*own, _version_option()]
        _format_parameters(own, [_json_option(), *shared_options()], ctx, formatter)


def _first_steps(terminal: Terminal) -> str:
    """Return the introduction that a terminal user sees without arguments."""
    from textwrap import wrap

    columns = max(20, min(terminal.width, 80))
    lines = [*wrap(COMMANDS.help, columns), ""]
    for line, text in FIRST_STEPS:
        indent = " " * 6
        lines.append(terminal.style(f"  {line}", "cyan"))
        lines += wrap(text, columns, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*lines, ""])


def _paths_to(name: str) -> Iterator[str]:
    """Yield the full command lines of all commands with a name."""
    for path, _ in commands_below(COMMANDS):
        if path[-1] == name:
            yield f"omniagent {' '.join(path)}"


def _format_parameters(
    own: list[Parameter], shared: list[Parameter], ctx: Any, formatter: Formatter
) -> None:
    sections: dict[str, list[Parameter]] = {"Arguments": [], "Options": []}
    for param in own:
        title = "Arguments" if param.param_type_name == "argument" else "Options"
        title = getattr(param, "rich_help_panel", None) or title
        sections.setdefault(title, []).append(param)
    sections["Global options"] = shared
    for title, params in sections.items():
        records = [record for param in params if (record := param.get_help_record(ctx))]
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def _examples(row: Row | Group) -> str:
    return "\nExamples:\n" + "".join(f"  {example}\n" for example in row.examples)


def build_command(name: str, row: Row) -> Command:
    """Import the function of a command and build the command."""
    module, _, function = row.target.partition(":")
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = _WORDS if row.words else _HELP_OPTIONS
    register = app.command(name, cls=Command, context_settings=settings)
    register(getattr(import_module(f"omniagent_cli.cli.{module}"), function))
    command: Any = typer.main.get_command(app)
    command.row = row
    return command  # type: ignore[no-any-return]
