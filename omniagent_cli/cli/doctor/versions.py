"""Versions of omniagent and its environment, for bug reports."""

from __future__ import annotations

import platform
import sqlite3
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from omniagent_cli._version import __version__
from omniagent_cli.cli.doctor.check_result import OK, CheckContext, Finding

_LIBRARIES = ("openai", "prompt-toolkit", "rich", "typer")


def check(_patient: CheckContext) -> Iterator[Finding]:
    """Report the versions of omniagent, Python, SQLite and the libraries."""
    yield Finding(OK, f"omniagent {__version__}")
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding(OK, f"Python {platform.python_version()} at {sys.executable}, on {system}")
    found = [f"SQLite {sqlite3.sqlite_version}", *map(_library, _LIBRARIES)]
    yield Finding(OK, ", ".join(found))


def _library(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} as a dependency"
