"""`omniagent completion`: print, install and remove the completion scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import completed_by
from omniagent_cli.errors import ConfigError, UsageError
from omniagent_cli.parsing import alternatives

if TYPE_CHECKING:
    from collections.abc import Mapping

SHELLS = {
    "bash": "omniagent.bash",
    "zsh": "_omniagent",
    "fish": "omniagent.fish",
    "powershell": "omniagent.ps1",
}
"""Shell -> its script."""

_BEGIN = "# >>> omniagent completion >>>"
_END = "# <<< omniagent completion <<<"

Shell = Annotated[
    str | None,
    typer.Argument(
        metavar="[SHELL]",
        help=f"{alternatives(list(SHELLS))} (default: your shell)",
        show_default=False,
        **completed_by(SHELLS),
    ),
]


def show(ctx: typer.Context, shell: Shell = None) -> None:
    """Print the completion script of a shell."""
    context = current_context(ctx)
    context.terminal.write(script(_named(shell, context.environ)))


def install(ctx: typer.Context, shell: Shell = None) -> None:
    """Install the completion script for a shell. Running it twice changes nothing."""
    context = current_context(ctx)
    name = _named(shell, context.environ)
    place = target(name, context.environ)
    changed = _write(place, script(name))
    context.terminal.line(f"{place}: {'written' if changed else 'already installed'}")
    if name == "zsh":
        _add_lines(context, _startup_file(name, context.environ), _zshrc_lines(place.parent))
    elif name == "bash":
        _add_lines(context, _startup_file(name, context.environ), _bashrc_lines(place))
    context.terminal.note("Completion works in new shells")


def uninstall(ctx: typer.Context, shell: Shell = None) -> None:
    """Remove the completion script and the lines added for it."""
    context = current_context(ctx)
    name = _named(shell, context.environ)
    place = target(name, context.environ)
    there = _remove(place)
    context.terminal.line(f"{place}: {'removed' if there else 'was not installed'}")
    if name in ("zsh", "bash"):
        file = _startup_file(name, context.environ)
        without = _without_our_lines(_read(file))
        if without != _read(file):
            _check_may_change(file, "remove the omniagent lines yourself")
            _write(file, without)
            if not without and not file.is_symlink():
                _remove(file)  # it only had the omniagent lines
            context.terminal.line(f"{file}: omniagent lines removed")


def script(shell: str) -> str:
    """Return the completion script of a shell, from the installed package or a checkout."""
    name = SHELLS[shell]
    package = Path(__file__).parents[2]
    for place in (package / "completions", package.parent / "completions"):
        if (place / name).is_file():
            return (place / name).read_text(encoding="utf-8")
    raise ConfigError(
        f"the completion script {name} is missing from this installation; install omniagent-cli again"
    )


def _named(shell: str | None, environ: Mapping[str, str]) -> str:
    if shell is not None:
        if shell in SHELLS:
            return shell
        raise UsageError(f"no completion script for {shell!r}; give {', '.join(SHELLS)}")
    found = shell_of(environ)
    if found in SHELLS:
        return found
    what = f"no completion script for your shell {found!r}" if found else "SHELL is not set"
    raise UsageError(f"{what}; give {', '.join(SHELLS)}")


def shell_of(environ: Mapping[str, str]) -> str:
    """Return the name of the user's shell; empty if unknown."""
    found = Path(environ.get("SHELL", "")).name.removesuffix(".exe")
    return "powershell" if found == "pwsh" else found


def target(shell: str, environ: Mapping[str, str]) -> Path:
    """Return the path where the shell loads the user's scripts from."""
    if shell == "powershell":
        raise UsageError(
            "PowerShell has no directory for scripts; add this line to the file in $PROFILE: "
            "omniagent completion show powershell | Out-String | Invoke-Expression"
        )
    data = _xdg("XDG_DATA_HOME", ".local/share", environ)
    if shell == "bash":
        own = environ.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
        base = Path(own) if own else data / "bash-completion"
        return base / "completions" / "omniagent"
    if shell == "zsh":
        return data / "zsh" / "site-functions" / "_omniagent"
    return _xdg("XDG_CONFIG_HOME", ".config", environ) / "fish" / "completions" / "omniagent.fish"


def _xdg(variable: str, below_home: str, environ: Mapping[str, str]) -> Path:
    from omniagent_cli.config.paths import home

    given = environ.get(variable, "")
    return Path(given) if given.startswith("/") else Path(home(environ)) / below_home


def _startup_file(shell: str, environ: Mapping[str, str]) -> Path:
    """Return the startup file of a shell."""
    from omniagent_cli.config.paths import home

    if shell == "bash":
        return Path(home(environ)) / ".bashrc"
    return Path(environ.get("ZDOTDIR") or home(environ)) / ".zshrc"


def _zshrc_lines(directory: Path) -> str:
    """Return lines for the end of .zshrc, after any compinit, that add the directory to fpath."""
    return (
        f"fpath=({_quoted(directory)} $fpath)\n"
        "if (( $+functions[compdef] )); then\n"
        "    autoload -Uz _omniagent && compdef _omniagent omniagent\n"
        "else\n"
        "    autoload -Uz compinit && compinit\n"
        "fi\n"
    )


def _bashrc_lines(place: Path) -> str:
    """Return lines that source the script from ~/.bashrc, because bash-completion may not be installed."""
    return f"if [ -r {_quoted(place)} ]; then\n    . {_quoted(place)}\nfi\n"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _add_lines(context: Context, file: Path, lines: str) -> None:
    before = _without_our_lines(_read(file))
    if before and not before.endswith("\n"):
        before += "\n"
    text = f"{before}{_BEGIN}\n{lines}{_END}\n"
    if not _exists(file) or _read(file) != text:
        _check_may_change(file, f"add this to your shell's startup file: {lines}")
    changed = _write(file, text)
    context.terminal.line(
        f"{file}: {'lines added' if changed else 'already has the omniagent lines'}"
    )


def _check_may_change(file: Path, instead: str) -> None:
    """Raise an error if a file is read-only, because replacing it would ignore that."""
    if file.is_file() and not file.stat().st_mode & 0o222:
        raise ConfigError(f"{file} is read-only and was not changed; {instead}")


def _without_our_lines(text: str) -> str:
    before, begin, rest = text.partition(f"{_BEGIN}\n")
    _, end, after = rest.partition(f"{_END}\n")
    return before + after if begin and end else text


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}; fix this and try again"
        ) from error


def _exists(file: Path) -> bool:
    return file.is_file() or file.is_symlink()


def _write(file: Path, text: str) -> bool:
    """Write a file if its content differs, keeping its mode; return whether it was written."""
    there = _exists(file)
    if there and _read(file) == text:
        return False
    from omniagent_cli.private_files import write_private

    mode = file.stat().st_mode if file.is_file() else None
    write_private(file, text.encode("utf-8", "surrogateescape"))
    if mode is not None:
        file.chmod(mode & 0o777)
    return True


def _remove(file: Path) -> bool:
    """Remove a file; return whether it existed."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"cannot remove {file}: {error.strerror}; remove it yourself") from error
    return True
