"""The origin of a session: the directory, git branch and program it began in."""

from __future__ import annotations

from pathlib import Path

_REFERENCE = "ref: refs/heads/"
_MOST_BYTES = 4096


def session_origin(cwd: Path, program: str = "omniagent") -> dict[str, str]:
    """Return the origin of a session that begins in a directory; without a branch outside git."""
    origin = {"cwd": str(cwd), "git_branch": git_branch(cwd), "program": program}
    return {key: value for key, value in origin.items() if value}


def git_branch(directory: Path) -> str:
    """Return the name of the branch checked out in a directory; empty outside git and on a detached commit."""
    for place in (directory, *directory.parents):
        found = place / ".git"
        text = _start_of(found)
        if text.startswith("gitdir: "):  # a linked worktree or a submodule
            found = place / text.removeprefix("gitdir: ").strip()
        head = _start_of(found / "HEAD").strip()
        if head:
            return head.removeprefix(_REFERENCE) if head.startswith(_REFERENCE) else ""
    return ""


def _start_of(file: Path) -> str:
    """Return the start of a text file; empty if it cannot be read."""
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_MOST_BYTES)
    except OSError:
        return ""
