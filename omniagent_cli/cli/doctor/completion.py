"""Check of shell completion: installed for the user's shell, and current."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from omniagent_cli.cli.doctor.check_result import INFO, OK, WARNING, CheckContext, Finding
from omniagent_cli.cli.settings.completion import SHELLS, script, shell_of, target

# The directories of the scripts in a wheel, below the installation prefix.
_OF_WHEEL = {
    "bash": "share/bash-completion/completions/omniagent",
    "zsh": "share/zsh/site-functions/_omniagent",
    "fish": "share/fish/vendor_completions.d/omniagent.fish",
}


def check(context: CheckContext) -> Iterator[Finding]:
    """Check the completion script of the user's shell."""
    environ = context.context.environ
    shell = shell_of(environ)
    if shell not in SHELLS:
        what = f"no completion for the shell {shell}" if shell else "SHELL is not set"
        yield Finding(
            INFO, what, f"'omniagent completion install SHELL' supports {', '.join(SHELLS)}"
        )
        return
    if shell == "powershell":
        yield Finding(OK, "PowerShell reads the script from your profile, which is not checked")
        return
    own = target(shell, environ)
    places = [own, *_shared(shell)]
    if not (there := [place for place in places if place.is_file()]):
        yield Finding(
            WARNING, f"completion is not installed for {shell} yet", "omniagent completion install"
        )
    elif there[0].read_text(encoding="utf-8", errors="replace") != script(shell):
        what = f"{there[0]} belongs to another version"
        yield Finding(WARNING, what, f"omniagent completion install {shell}")
    else:
        yield Finding(OK, f"completion is installed for {shell}: {there[0]}")


def _shared(shell: str) -> list[Path]:
    """Return the paths of system-wide scripts."""
    roots = {"/usr", "/usr/local", sys.prefix if sys.prefix == sys.base_prefix else "/usr"}
    return [Path(root, _OF_WHEEL[shell]) for root in sorted(roots)] if os.name == "posix" else []
