"""Where other tools on this machine keep their conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from omniagent_cli.config.paths import home
from omniagent_cli.formats.input_sources import files_under


class History(NamedTuple):
    """One place with conversations of another tool.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        files: how many files there are, of `size` bytes together.
    """

    format_name: str
    path: Path
    files: int
    size: int


class Place(NamedTuple):
    """Where a tool keeps them: below a directory that a variable may move.

    Attributes:
        variable: environment variable with the directory.
        usual: the directories below home it is otherwise, on Linux and on macOS.
        below: what is looked for there; a ``*`` stands for any directory.
    """

    format_name: str
    variable: str
    usual: tuple[str, ...]
    below: tuple[str, ...]


PLACES = (
    # https://github.com/openai/codex, docs/config.md
    Place("codex", "CODEX_HOME", (".codex",), ("sessions", "archived_sessions")),
    # https://docs.claude.com/en/docs/claude-code/settings
    Place("claude-code", "CLAUDE_CONFIG_DIR", (".claude",), ("projects",)),
    # https://github.com/google-gemini/gemini-cli, docs/cli/session-management.md
    Place("gemini", "", (".gemini",), ("tmp/*/chats",)),
    # https://llm.datasette.io/en/stable/setup.html
    Place(
        "llm",
        "LLM_USER_PATH",
        (".config/io.datasette.llm", "Library/Application Support/io.datasette.llm"),
        ("logs.db",),
    ),
    # https://github.com/sigoden/aichat/wiki/Environment-Variables
    Place("aichat", "AICHAT_SESSIONS_DIR", (), ("",)),
    Place(
        "aichat",
        "AICHAT_CONFIG_DIR",
        (".config/aichat", "Library/Application Support/aichat"),
        ("sessions",),
    ),
)
"""Where each tool keeps them; the first place that is moved by a variable or there is used."""


def histories(environ: Mapping[str, str]) -> list[History]:
    """Return the places that hold something, in the order of the tools; nothing is read but names and sizes."""
    found: dict[Path, History] = {}
    for place in PLACES:
        for path in _paths(place, environ):
            history = _looked_at(place.format_name, path)
            if history is not None:
                found.setdefault(path, history)
    return list(found.values())


def _paths(place: Place, environ: Mapping[str, str]) -> Iterator[Path]:
    own = environ.get(place.variable, "") if place.variable else ""
    roots = [Path(own)] if own else [_below_home(usual, environ) for usual in place.usual]
    for root in roots:
        for below in place.below:
            yield from sorted(root.glob(below)) if "*" in below else [root / below]


def _below_home(usual: str, environ: Mapping[str, str]) -> Path:
    """Return a usual directory; what is in ``.config`` moves with it (XDG Base Directory Specification)."""
    first, _, rest = usual.partition("/")
    config = Path(environ.get("XDG_CONFIG_HOME", ""))
    return (
        config / rest if first == ".config" and config.is_absolute() else Path(home(environ), usual)
    )


def _looked_at(format_name: str, path: Path) -> History | None:
    try:
        files = list(files_under(path)) if path.is_dir() else [path] if path.is_file() else []
        size = sum(file.stat().st_size for file in files)
    except OSError:
        return None
    return History(format_name, path, len(files), size) if files else None
