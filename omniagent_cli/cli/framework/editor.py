"""The user's editor on a file."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from omniagent_cli.cli.framework.context import Context
from omniagent_cli.cli.framework.exits import Refused
from omniagent_cli.errors import ConfigError
from omniagent_cli.text.sanitize import one_line


def edit_file(context: Context, file: Path) -> None:
    """Open a file in $VISUAL or $EDITOR, and wait until it ends.

    Raises:
        ConfigError: the editor cannot be started.
        Refused: it failed.
    """
    editor = context.environ.get("VISUAL") or context.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.call([*shlex.split(editor), os.fspath(file)])  # noqa: S603  # the user's own editor
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot start the editor {one_line(editor)}; set EDITOR to an installed editor"
        ) from error
    if code:
        raise Refused(f"the editor {one_line(editor)} failed with exit code {code}; check {file}")
