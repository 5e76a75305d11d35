"""Attachments: files as the content of a message, and the data of stored references when a message is sent.

Text files are added to the message's text in a fence, so that every model can read them and every search finds them.
Pictures and PDFs become content parts; `omniagent_cli.models.parts` documents how those are stored.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omniagent_cli.agent.context.files import read_user_file, utf8_text
from omniagent_cli.errors import (
    ContextLengthExceeded,
    CorruptSession,
    ModelError,
    ModelRefused,
    SessionNotFound,
    UsageError,
)
from omniagent_cli.models import (
    Content,
    inlined,
    other_parts,
    part_label,
    published,
    size_text,
)
from omniagent_cli.text.sanitize import cut, one_line

MAX_TEXT_BYTES = 1_000_000
"""The maximum size of a text file: about 250,000 tokens, the whole window of most models."""

MAX_FILE_BYTES = 20_000_000
"""The maximum size of a picture or PDF; the limits of requests are 20 MB (Google), 50 MB (OpenAI), 32 MB (Anthropic)."""

MAX_MESSAGE_BYTES = 24_000_000
"""The maximum size of a message's attachments: base64 adds a third, and Anthropic's limit of a request is 32 MB."""

PICTURE = "image_url"
_NAME_LENGTH = 120
_MAGIC = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("application/pdf", re.compile(rb"%PDF-\d")),
)
_SUPPORTED = "UTF-8 text, pictures (PNG, JPEG, GIF, WebP) and PDF files are supported"
_KINDS = {PICTURE: "image", "file": "file", "input_audio": "sound"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file for a message, with its content at the time it was read.

    Attributes:
        name: the file name without directories, sanitized, on one line.
        media_type: detected from the content; ``text/plain`` for any text.
        text: the text of a text file; None for a picture or a PDF.
        suffix: the extension of the name, which gives the language of a text.
    """

    name: str
    media_type: str
    data: bytes
    text: str | None = None
    suffix: str = ""

    @property
    def label(self) -> str:
        """A one-line description: ``[image: cat.png, 120 kB]``."""
        if self.text is not None:
            return f"[text: {self.name}, {size_text(len(self.data))}]"
        return part_label(self.part(), sized=True)

    def part(self) -> dict[str, Any]:
        """Return a picture or PDF as a content part with its data."""
        url = f"data:{self.media_type};base64,{b64encode(self.data).decode()}"
        facts = {"name": self.name, "media_type": self.media_type, "size": len(self.data)}
        if self.media_type.startswith("image/"):
            return {"type": PICTURE, PICTURE: {"url": url}, **facts}
        return {"type": "file", "file": {"filename": self.name, "file_data": url}, **facts}

    def fenced(self) -> str:
        """Return a text file in a fence, preceded by its name."""
        from omniagent_cli.formats.writers.markdown import fenced

        return f"{self.name}:\n{fenced(self.text or '', self.suffix)}"


def read_attachment(path: str | os.PathLike[str]) -> Attachment:
    """Read a file for a message; ``~`` is the home directory.

    Raises:
        UsageError: it cannot be read, is too large, or has an unsupported type; gives the reason.
    """
    name = os.fspath(path)
    return parse_attachment(name, read_user_file(name, "cannot attach", MAX_FILE_BYTES))


def parse_attachment(name: str, data: bytes) -> Attachment:
    """Return the attachment for the name and the content of a file.

    Raises:
        UsageError: it is too large, or has an unsupported type; gives the reason.
    """
    shown = one_line(name)
    own_name = cut(one_line(Path(name).name), _NAME_LENGTH)
    media_type = _media_type(data)
    if not media_type and len(data) > MAX_FILE_BYTES and b"\0" not in data:
        _check_size(
            data, MAX_TEXT_BYTES, name, "text"
        )  # only the beginning was read, so it cannot be decoded
    text = utf8_text(data) if not media_type or _is_only_text(data) else None
    if text is not None:
        _check_size(data, MAX_TEXT_BYTES, name, "text")
        return Attachment(own_name, "text/plain", data, text, _suffix(Path(name)))
    if not media_type:
        raise UsageError(f"cannot attach {shown!r}: only {_SUPPORTED}")
    _check_size(data, MAX_FILE_BYTES, name, "picture" if media_type.startswith("image/") else "PDF")
    return Attachment(own_name, media_type, data)


def _media_type(data: bytes) -> str:
    return next((kind for kind, magic in _MAGIC if magic.match(data)), "")


def _is_only_text(data: bytes) -> bool:
    """Return True for text that begins like a PDF or a picture but lacks the end of one."""
    return not (data.startswith(b"%PDF-") and b"%%EOF" in data[-2048:])


def _check_size(data: bytes, most: int, name: str, kind: str) -> None:
    if len(data) <= most:
        return
    try:
        size = size_text(max(len(data), Path(name).expanduser().stat().st_size))
    except OSError:  # removed since it was read
        size = f"over {size_text(len(data) - 1)}"
    raise UsageError(
        f"cannot attach {one_line(name)!r}: {size}, more than {size_text(most)} for a {kind}; attach a part of it"
    )


def _suffix(path: Path) -> str:
    suffix = path.suffix[1:].lower()
    return suffix if suffix.isalnum() and suffix.isascii() and len(suffix) <= 20 else ""


def check_total_size(attachments: Iterable[Attachment]) -> None:
    """Check that one message can carry the attachments.

    Raises:
        UsageError: their total size is too large.
    """
    size = sum(len(attachment.data) for attachment in attachments)
    if size > MAX_MESSAGE_BYTES:
        raise UsageError(
            f"the attachments are too large: {size_text(size)}, at most {size_text(MAX_MESSAGE_BYTES)} per message;"
            " send several messages"
        )


def compose(text: str, attachments: Sequence[Attachment]) -> Content:
    """Return the content of a message: text, or parts if there are pictures or PDFs.

    Raises:
        UsageError: the total size of the attachments is too large.
    """
    check_total_size(attachments)
    texts = [text, *(a.fenced() for a in attachments if a.text is not None)]
    text = "\n\n".join(piece for piece in texts if piece.strip())
    parts = [attachment.part() for attachment in attachments if attachment.text is None]
    if not parts:
        return text
    return [{"type": "text", "text": text}, *parts] if text else parts


def attach(text: str, *paths: str | os.PathLike[str]) -> Content:
    """Return a message with files, for `Agent.process` and similar methods.

    Text files are added to the text; pictures (PNG, JPEG, GIF, WebP) and PDF files become chat-completions content parts
    with their data. A session stores the data once, however often it is used.

    Raises:
        UsageError: a file cannot be read, is too large, or has an unsupported type.
    """
    return compose(text, [read_attachment(path) for path in paths])


# Sending.


class AttachmentResolver:
    """The attachments of one session, loaded when they are sent and cached for a turn.

    Args:
        load: returns the record for a SHA-256 in hex; see `SessionStore.attachment`.
    """

    def __init__(self, load: Callable[[str], Any]) -> None:
        self._load = load
        self._known: dict[str, Any] = {}
        self._reported: set[str] = set()

    def __call__(self, sha256: str) -> Any:
        """Return the record of an attachment; None if it is missing or damaged."""
        if sha256 not in self._known:
            try:
                self._known[sha256] = self._load(sha256)
            except (SessionNotFound, CorruptSession):
                self._known[sha256] = None
        return self._known[sha256]

    def resolve(
        self, records: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return messages with attachments inlined, and a notice for each missing attachment not reported before."""
        missing: list[str] = []
        sent = []
        for record in records:
            content, lost = inlined(record.get("content", ""), self)
            sent.append({**record, "content": published(content)})
            missing += lost
        new = [label for label in dict.fromkeys(missing) if label not in self._reported]
        self._reported.update(new)
        return sent, [
            f"{one_line(label)} is missing from the session; sent without it" for label in new
        ]


def resolve_attachments(content: Content, load: Callable[[str], Any]) -> Content:
    """Return stored content with its attachments inlined, so that it can be sent in another session."""
    return inlined(content, AttachmentResolver(load))[0]


# Rejection by the provider.

_REJECTING_STATUSES = frozenset({400, 413, 415, 422})
_ABOUT_PARTS = re.compile(
    r"image|vision|multimodal|mmproj|\bpdf\b|\bfiles?\b|\baudio\b", re.IGNORECASE
)


def explain_refusal(
    error: ModelError, records: Iterable[Mapping[str, Any]], model: str
) -> ModelError:
    """Return the error with a hint if attachments may be the reason, otherwise unchanged."""
    too_long = isinstance(error, ContextLengthExceeded) and error.status != 413
    if too_long or not isinstance(error, ModelRefused):
        return error
    if error.status not in _REJECTING_STATUSES and not _ABOUT_PARTS.search(str(error)):
        return error
    kinds = [
        part.get("type") for record in records for part in other_parts(record.get("content", ""))
    ]
    names = [_counted(kinds.count(kind), name) for kind, name in _KINDS.items() if kind in kinds]
    if not names:
        return error
    return ModelRefused(
        f"{error}; the request had {' and '.join(names)}, which {model} may not support: choose another model"
        " (--model, /retry -m), or ask without",
        status=error.status,
    )


def _counted(count: int, name: str) -> str:
    return f"1 {name}" if count == 1 else f"{count} {name}s"
