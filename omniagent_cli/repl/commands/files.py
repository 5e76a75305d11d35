"""Slash commands that write the session to a file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from omniagent_cli.errors import OmniAgentError, SessionNotFound, UsageError
from omniagent_cli.formats import FORMATS
from omniagent_cli.formats.file_names import file_name
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import File, FileWord, Flag, Format, command
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.views import counted, quoted


class NotWritten(OmniAgentError):
    """Raised when a file could not be written; its previous content is unchanged."""


@command("save")
async def save(chat: Chat, file: File = "") -> None:
    """Write this session to a readable file; the extension chooses the format: .md, .html, .txt, .csv and others.

    Without an extension it is Markdown; without a name the file is named after the session.
    """
    path = _path(file or file_name(chat.session_id, ".md"))
    await _write(chat, path, _format_of(path) or "markdown")


@command("export")
async def export(
    chat: Chat,
    format: Format = "",  # noqa: A002  # shown in the usage
    file: File = "",
    *,
    output: FileWord = "",
    redact: Flag = False,
) -> None:
    """Export this session in a format such as jsonl or markdown; TAB completes them.

    Without a file it is printed; html is written to a file named after the session. Without a format the extension
    chooses it. --redact masks what looks like a key, token or password.
    """
    file = output or file
    if format and format not in FORMATS and not file and _format_of(Path(format)):
        format, file = "", format  # noqa: A001  # only a file was named
    if format == "html" and not file:
        file = file_name(chat.session_id, ".html")  # an HTML page is not readable here
    if file:
        path = _path(file)
        await _write(chat, path, format or _format_of(path) or "jsonl", redact=redact)
        return
    pieces: list[bytes] = []
    await chat.call(_exported, chat, format or "jsonl", pieces.append, redact=redact)
    for line in b"".join(pieces).decode().rstrip("\n").split("\n"):
        chat.terminal.line(visible(line))


async def _write(chat: Chat, path: Path, format_name: str, *, redact: bool = False) -> None:
    if await chat.call(path.is_dir):
        raise UsageError(f"{one_line(str(path))} is a directory; give a file name")
    if await chat.call(path.exists) and not await chat.confirm(f"Replace {path}?"):
        chat.terminal.note("Nothing was written")
        return
    count = await chat.call(_write_whole, chat, path, format_name, redact=redact)
    chat.terminal.note(f"{counted(count, 'message')} written to {path} as {format_name}")


def _write_whole(chat: Chat, path: Path, format_name: str, *, redact: bool) -> int:
    """Write a private file atomically."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".omniagent-", suffix=".tmp")
        part = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                count = _exported(chat, format_name, stream.write, redact=redact)
                stream.flush()
                os.fsync(stream.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return count
    except OSError as error:
        raise NotWritten(
            f"cannot write {one_line(str(path))}: {error.strerror}; choose another file"
        ) from error


def _exported(
    chat: Chat, format_name: str, write: Callable[[bytes], object], *, redact: bool
) -> int:
    from omniagent_cli.formats.exporter import export_sessions

    try:
        return export_sessions(
            chat.store, [chat.session_id], format_name, write, redact=redact
        ).messages
    except SessionNotFound as error:
        raise SessionNotFound(
            f"{quoted(chat.session_id)} has no messages to write yet",
            session_id=chat.session_id,
        ) from error


def _path(text: str) -> Path:
    return Path(text.strip("\"'")).expanduser()


def _format_of(path: Path) -> str:
    ending = path.suffix.lower()
    fitting = [row.name for row in FORMATS.values() if row.can_export and ending in row.suffixes]
    return fitting[0] if fitting else ""
