"""`omniagent completion`: shows the scripts for the shells, puts them where the shell looks, and takes them away."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.context import Context, running
from omniagent_cli.errors import ConfigError, UsageError

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
        help="bash, zsh, fish or powershell; yours when left out",
        show_default=False,
    ),
]


def show(ctx: typer.Context, shell: Shell = None) -> None:
    """Print the completion script of a shell."""
    context = running(ctx)
    context.terminal.write(script(_named(shell, context.environ)))


def install(ctx: typer.Context, shell: Shell = None) -> None:
    """Put the completion script where the shell looks; doing it twice changes nothing."""
    context = running(ctx)
    name = _named(shell, context.environ)
    place = target(name, context.environ)
    changed = _write(place, script(name))
    context.terminal.line(f"{place}: {'written' if changed else 'is there already'}")
    if name == "zsh":
        _install_zsh(context, place.parent)
    elif name == "bash":
        context.terminal.note(
            "bash reads it through its bash-completion package; without that, put this line into ~/.bashrc: "
            f". '{place}'"
        )
    context.terminal.note("it works in shells you open from now on")


def uninstall(ctx: typer.Context, shell: Shell = None) -> None:
    """Take the completion script away again, and what was added for it."""
    context = running(ctx)
    name = _named(shell, context.environ)
    place = target(name, context.environ)
    there = _remove(place)
    context.terminal.line(f"{place}: {'removed' if there else 'was not there'}")
    if name == "zsh":
        file = _zshrc(context.environ)
        without = _without_ours(_read(file))
        if without != _read(file):
            _write(file, without)
            context.terminal.line(f"{file}: our lines removed")


def script(shell: str) -> str:
    """Return the completion script of a shell, from the installed package or a checkout."""
    name = SHELLS[shell]
    here = Path(__file__)
    for place in (here.parents[1] / "completions", here.parents[2] / "completions"):
        if (place / name).is_file():
            return (place / name).read_text(encoding="utf-8")
    raise ConfigError(
        f"the completion script {name} is missing from this installation; install omniagent-cli again"
    )


def _named(shell: str | None, environ: Mapping[str, str]) -> str:
    if shell is not None:
        if shell in SHELLS:
            return shell
        raise UsageError(f"there is no script for {shell!r}; give {', '.join(SHELLS)}")
    found = shell_of(environ)
    if found in SHELLS:
        return found
    what = f"your shell {found!r} has no script" if found else "SHELL is not set"
    raise UsageError(f"{what}; give {', '.join(SHELLS)}")


def shell_of(environ: Mapping[str, str]) -> str:
    """Return the name of this person's shell; empty when nobody knows."""
    found = Path(environ.get("SHELL", "")).name.removesuffix(".exe")
    return "powershell" if found == "pwsh" else found


def target(shell: str, environ: Mapping[str, str]) -> Path:
    """Return where the shell looks for a person's own scripts."""
    if shell == "powershell":
        raise UsageError(
            "PowerShell has no directory for scripts; add this line to the file $PROFILE names: "
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


def _zshrc(environ: Mapping[str, str]) -> Path:
    from omniagent_cli.config.paths import home

    return Path(environ.get("ZDOTDIR") or home(environ)) / ".zshrc"


def _install_zsh(context: Context, directory: Path) -> None:
    """Have zsh look into the directory; at the end of .zshrc, where it is known whether completion was started."""
    file = _zshrc(context.environ)
    before = _without_ours(_read(file))
    if before and not before.endswith("\n"):
        before += "\n"
    quoted = "'" + str(directory).replace("'", "'\\''") + "'"
    ours = (
        f"{_BEGIN}\nfpath=({quoted} $fpath)\n"
        "if (( $+functions[compdef] )); then\n"
        "    autoload -Uz _omniagent && compdef _omniagent omniagent\n"
        "else\n"
        "    autoload -Uz compinit && compinit\n"
        f"fi\n{_END}\n"
    )
    changed = _write(file, before + ours)
    context.terminal.line(f"{file}: {'lines added' if changed else 'has our lines already'}")


def _without_ours(text: str) -> str:
    before, begin, rest = text.partition(f"{_BEGIN}\n")
    _, end, after = rest.partition(f"{_END}\n")
    return before + after if begin and end else text


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}; mend that and repeat") from error


def _exists(file: Path) -> bool:
    return file.is_file() or file.is_symlink()


def _write(file: Path, text: str) -> bool:
    """Write a file when it is not so already, keeping its mode; return whether it was not."""
    there = _exists(file)
    if there and _read(file) == text:
        return False
    from omniagent_cli.config.files import write_private

    mode = file.stat().st_mode if file.is_file() else None
    write_private(file, text.encode("utf-8", "surrogateescape"))
    if mode is not None:
        file.chmod(mode & 0o777)
    return True


def _remove(file: Path) -> bool:
    """Remove a file; return whether it was there."""
    try:
        file.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(f"cannot remove {file}: {error.strerror}; remove it yourself") from error
    return True
