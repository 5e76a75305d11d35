"""Recovery files: turns that the store did not accept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omniagent_cli.config.paths import state_dir
from omniagent_cli.durations import utc_now
from omniagent_cli.models import Content, content_text, new_session_id
from omniagent_cli.private_files import write_private


def keep(session_id: str, question: Content, answer: str, environ: Mapping[str, str]) -> Path:
    """Write a turn to a new private file in the state directory and return its path.

    Raises:
        ConfigError: the file cannot be written.
    """
    now = utc_now()
    path = state_dir(environ) / "recovered" / f"{new_session_id(now)}.md"
    parts = [f"session: {session_id}", f"time: {now.isoformat()}", "", "## user", ""]
    parts += [content_text(question), ""]
    if answer:
        parts += ["## assistant", "", answer, ""]
    write_private(path, "\n".join(parts).encode("utf-8", "backslashreplace"))
    return path
