"""Saved prompts for TAB: their names."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def prompt_names(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names of the user's prompts, and of those of a project."""
    from pathlib import Path

    from omniagent_cli.config.prompts import prompt_names

    return [(name, "") for name in prompt_names(environ, Path(os.getcwd()))]  # noqa: PTH109  # as the shell has it
