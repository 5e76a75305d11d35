"""Conversation histories of other tools on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from omniagent_cli.config.paths import home
from omniagent_cli.formats.input_sources import FileState, file_states


class History(NamedTuple):
    """One file or directory with conversations of another tool.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        path: the file or directory.
        files: the files and their states.
    """

    format_name: str
    path: Path
    files: list[FileState]

    @property
    def size(self) -> int:
        """Total size in bytes."""
        return sum(file.size for file in self.files)


class HistoryPath(NamedTuple):
    """Path of the history of a tool, below a directory that a variable can change.

    Attributes:
        format_name: a key of `formats.FORMATS`.
        variable: environment variable with the directory.
        defaults: the default directories below home, on Linux and on macOS.
        below: paths below the directory; a ``*`` matches any directory.
    """

    format_name: str
    variable: str
    defaults: tuple[str, ...]
    below: tuple[str, ...]


HISTORY_PATHS = (
    # https://github.com/openai/codex, docs/config.md
    HistoryPath("codex", "CODEX_HOME", (".codex",), ("sessions", "archived_sessions")),
    # https://docs.claude.com/en/docs/claude-code/settings
    HistoryPath("claude-code", "CLAUDE_CONFIG_DIR", (".claude",), ("projects",)),
    # https://github.com/google-gemini/gemini-cli, docs/cli/session-management.md
    HistoryPath("gemini", "", (".gemini",), ("tmp/*/chats",)),
    # https://llm.datasette.io/en/stable/setup.html
    HistoryPath(
        "llm",
        "LLM_USER_PATH",
        (".config/io.datasette.llm", "Library/Application Support/io.datasette.llm"),
        ("logs.db",),
    ),
    # https://github.com/sigoden/aichat/wiki/Environment-Variables
    HistoryPath("aichat", "AICHAT_SESSIONS_DIR", (), ("",)),
    HistoryPath(
        "aichat",
        "AICHAT_CONFIG_DIR",
        (".config/aichat", "Library/Application Support/aichat"),
        ("sessions",),
    ),
    # https://github.com/sst/opencode, packages/opencode/src/global
    HistoryPath("opencode", "", (".local/share/opencode",), ("opencode.db",)),
    HistoryPath("opencode", "OPENCODE_DB", (), ("",)),
    # https://github.com/block/goose, crates/goose/src/session/session_manager.rs and config/paths.rs
    HistoryPath("goose", "", (".local/share/goose/sessions",), ("sessions.db",)),
    HistoryPath("goose", "GOOSE_PATH_ROOT", (), ("data/sessions/sessions.db",)),
    # https://github.com/QwenLM/qwen-code, packages/core/src/config/storage.ts
    HistoryPath("qwen-code", "QWEN_HOME", (".qwen",), ("projects/*/chats", "tmp/*/chats")),
    # https://github.com/earendil-works/pi, packages/coding-agent/src/config.ts
    HistoryPath("pi", "PI_CODING_AGENT_DIR", (".pi/agent",), ("sessions",)),
    # https://github.com/gptme/gptme, gptme/dirs.py
    HistoryPath("gptme", "GPTME_LOGS_HOME", (".local/share/gptme/logs",), ("",)),
    # https://github.com/NousResearch/hermes-agent, hermes_state.py
    HistoryPath("hermes", "HERMES_HOME", (".hermes",), ("state.db",)),
    # https://docs.github.com/copilot/concepts/agents/about-copilot-cli
    HistoryPath("copilot-cli", "COPILOT_HOME", (".copilot",), ("session-state",)),
    HistoryPath(
        "copilot-chat",
        "",
        (".config/Code/User", "Library/Application Support/Code/User"),
        ("workspaceStorage/*/chatSessions", "globalStorage/emptyWindowChatSessions"),
    ),
    HistoryPath(
        "cursor",
        "",
        (".config/Cursor/User", "Library/Application Support/Cursor/User"),
        ("globalStorage/state.vscdb",),
    ),
    HistoryPath(
        "cline",
        "",
        (
            ".config/Code/User/globalStorage",
            "Library/Application Support/Code/User/globalStorage",
        ),
        (
            "saoudrizwan.claude-dev/tasks",
            "rooveterinaryinc.roo-cline/tasks",
            "kilocode.kilo-code/tasks",
        ),
    ),
    # https://github.com/zed-industries/zed, crates/paths/src/paths.rs
    HistoryPath(
        "zed",
        "",
        (".local/share/zed", "Library/Application Support/Zed"),
        ("threads/threads.db",),
    ),
    HistoryPath("lm-studio", "", (".lmstudio",), ("conversations",)),
    HistoryPath(
        "jan", "", (".local/share/Jan/data", "Library/Application Support/Jan/data"), ("threads",)
    ),
)
"""Paths of each tool."""


def find_histories(environ: Mapping[str, str]) -> list[History]:
    """Return the histories that are not empty, in the order of the tools; only names and sizes are read."""
    found: dict[Path, History] = {}
    for place in HISTORY_PATHS:
        for path in _paths(place, environ):
            history = _history(place.format_name, path)
            if history is not None:
                found.setdefault(path, history)
    return list(found.values())


def _paths(place: HistoryPath, environ: Mapping[str, str]) -> Iterator[Path]:
    own = environ.get(place.variable, "") if place.variable else ""
    roots = [Path(own)] if own else [_below_home(default, environ) for default in place.defaults]
    for root in roots:
        for below in place.below:
            yield from sorted(root.glob(below)) if "*" in below else [root / below]


def _below_home(default: str, environ: Mapping[str, str]) -> Path:
    """Return a default directory; ``.config`` and ``.local/share`` follow the XDG Base Directory Specification."""
    for prefix, variable in ((".config/", "XDG_CONFIG_HOME"), (".local/share/", "XDG_DATA_HOME")):
        base = Path(environ.get(variable, ""))
        if default.startswith(prefix) and base.is_absolute():
            return base / default.removeprefix(prefix)
    return Path(home(environ), default)


def _history(format_name: str, path: Path) -> History | None:
    try:
        files = file_states(path)
    except OSError:
        return None
    return History(format_name, path, files) if files else None
