"""HTML page: head, one section per session, and the index.

The index is written last and displayed first, so a page of any size can be streamed; its entries are spooled to disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from urllib.parse import quote

from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.formats.writers.html import messages
from omniagent_cli.formats.writers.html.escaping import escape_line
from omniagent_cli.formats.writers.html.images import ImageEmbedder
from omniagent_cli.formats.writers.html.style import POLICY, SHEET
from omniagent_cli.formats.writers.markdown import format_timestamp
from omniagent_cli.models import plain_text
from omniagent_cli.text.sanitize import cut, first_line

_IN_MEMORY = 1_000_000
_PIECE = 64 * 1024
_ENTRY_LENGTH = 90


class Html:
    """Self-contained page. Anchors consist of the number of the session and the position of the message."""

    def write(self, sessions: Iterable[OutgoingSession]) -> Iterator[bytes]:
        """Yield the page message by message."""
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as index:
            number = 0
            for number, session in enumerate(sessions, 1):
                if number == 1:
                    yield _head(session.header.get("title") or session.header["id"])
                yield from _session(session, f"s{number}", index)
            if not number:
                yield _head("No sessions") + b"<p>There are no sessions in this export.</p>\n"
            yield b'</main>\n<nav id="index" aria-label="Index">\n<h2>Index</h2>\n<ol>\n'
            index.seek(0)
            while piece := index.read(_PIECE):
                yield piece
            yield b"</ol>\n</nav>\n</body>\n</html>\n"

    def index_page(self, sessions: Iterable[tuple[str, str, str, int]]) -> Iterator[bytes]:
        """Yield a page that links to the pages of a directory, in the order of the export.

        Args:
            sessions: title, file name, time of the last activity, and number of messages of each session.
        """
        yield _head("Sessions")
        yield b"<header><h1>Sessions</h1></header>\n<ol>\n"
        for title, name, at, count in sessions:
            facts = f"{format_timestamp(at)} \u00b7 {count} message{'' if count == 1 else 's'}"
            yield f'<li><a href="{quote(name)}">{_entry(title)}</a> <span class="facts">{facts}</span></li>\n'.encode()
        yield b"</ol>\n</main>\n</body>\n</html>\n"


def _head(title: str) -> bytes:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="generator" content="omniagent">\n'
        '<link rel="icon" href="data:,">\n'  # otherwise browsers request a favicon
        f"<title>{escape_line(cut(title, _ENTRY_LENGTH))}</title>\n<style>{SHEET}</style>\n</head>\n<body>\n<main>\n"
    ).encode()


def _session(session: OutgoingSession, anchor: str, index: IO[bytes]) -> Iterator[bytes]:
    yield messages.header(session.header, anchor).encode()
    title = session.header.get("title") or session.header["id"]
    index.write(f'<li><a href="#{anchor}">{_entry(title)}</a>\n<ol>\n'.encode())
    images = ImageEmbedder(session.attachment)
    for kind, record in session.reading_order():
        if kind == "summary":
            yield messages.summary(record, f"{anchor}-summary{record['up_to']}").encode()
            continue
        message_anchor = f"{anchor}-m{session.position}"
        yield messages.message(record, message_anchor, session.position, images).encode()
        if entry := _question(record):
            index.write(f'<li><a href="#{message_anchor}">{entry}</a></li>\n'.encode())
    index.write(b"</ol></li>\n")
    yield messages.ENDING.encode()


def _question(record: dict[str, Any]) -> str:
    """Return the index entry of a message; only user messages have one."""
    if record["role"] != "user":
        return ""
    return _entry(first_line(plain_text(record.get("content", "")), _ENTRY_LENGTH) or "…")


def _entry(text: str) -> str:
    return escape_line(cut(text, _ENTRY_LENGTH))
