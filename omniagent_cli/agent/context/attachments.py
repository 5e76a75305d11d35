"""Attachments: files made into the content of a question, and what stored references stand for when it is sent.

Text goes into the message's text, in a fence that nothing in it closes, so that every model can read it and every
search finds it. Pictures and PDFs become content parts; how those are stored is said in `omniagent_cli.models.parts`.
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
"""Of one text file: about 250,000 tokens, which is the whole window of most models."""

MAX_FILE_BYTES = 20_000_000
"""Of one picture or PDF: what the providers take in one request (Google 20 MB, OpenAI 50 MB, Anthropic 32 MB)."""

MAX_MESSAGE_BYTES = 24_000_000
"""Of all attachments of a message: in base64 they are a third longer, and 32 MB is a request's limit at Anthropic."""

PICTURE = "image_url"
_NAME_LENGTH = 120
_MAGIC = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    ("application/pdf", re.compile(rb"%PDF-\d")),
)
_TAKES = "text in UTF-8, pictures (PNG, JPEG, GIF, WebP) and PDF files can be"
_KINDS = {PICTURE: "image", "file": "file", "input_audio": "sound"}


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file to go with a question, as it was when it was read.

    Attributes:
        name: without its directories, on one line, harmless.
        media_type: told from the content; ``text/plain`` for any text.
        text: what a text file says; None for a picture or a PDF.
        suffix: the name's ending, which says what language a text is in.
    """

    name: str
    media_type: str
    data: bytes
    text: str | None = None
    suffix: str = ""

    @property
    def label(self) -> str:
        """What it is, in one line: ``[image: cat.png, 120 kB]``."""
        if self.text is not None:
            return f"[text: {self.name}, {size_text(len(self.data))}]"
        return part_label(self.part(), sized=True)

    def part(self) -> dict[str, Any]:
        """Return a picture or a PDF as a content part with its data in it."""
        url = f"data:{self.media_type};base64,{b64encode(self.data).decode()}"
        facts = {"name": self.name, "media_type": self.media_type, "size": len(self.data)}
        if self.media_type.startswith("image/"):
            return {"type": PICTURE, PICTURE: {"url": url}, **facts}
        return {"type": "file", "file": {"filename": self.name, "file_data": url}, **facts}

    def fenced(self) -> str:
        """Return a text file in a fence, with its name above."""
        from omniagent_cli.formats.writers.markdown import fenced

        return f"{self.name}:\n{fenced(self.text or '', self.suffix)}"


def read_attachment(path: str | os.PathLike[str]) -> Attachment:
    """Read a file that is to go with a question; ``~`` is the home directory.

    Raises:
        UsageError: it cannot be read, is too large, or is of a kind that cannot be attached; says which.
    """
    name = os.fspath(path)
    shown = one_line(name)
    data = read_user_file(name, "cannot attach", MAX_FILE_BYTES)
    own_name = cut(one_line(Path(name).name), _NAME_LENGTH)
    media_type = _media_type(data)
    if not media_type and len(data) > MAX_FILE_BYTES and b"\0" not in data:
        _check_size(
            data, MAX_TEXT_BYTES, name, "text"
        )  # what is cut off need not be text to its end
    text = utf8_text(data) if not media_type or _is_only_text(data) else None
    if text is not None:
        _check_size(data, MAX_TEXT_BYTES, name, "text")
        return Attachment(own_name, "text/plain", data, text, _suffix(Path(name)))
    if not media_type:
        raise UsageError(f"cannot attach {shown!r}: only {_TAKES}")
    _check_size(data, MAX_FILE_BYTES, name, "picture" if media_type.startswith("image/") else "PDF")
    return Attachment(own_name, media_type, data)


def _media_type(data: bytes) -> str:
    return next((kind for kind, magic in _MAGIC if magic.match(data)), "")


def _is_only_text(data: bytes) -> bool:
    """Tell whether something that begins like a picture or a PDF is a text: those have ends that no text has."""
    return not (data.startswith(b"%PDF-") and b"%%EOF" in data[-2048:])


def _check_size(data: bytes, most: int, name: str, kind: str) -> None:
    if len(data) <= most:
        return
    try:
        size = size_text(max(len(data), Path(name).expanduser().stat().st_size))
    except OSError:  # it went meanwhile
        size = f"over {size_text(len(data) - 1)}"
    raise UsageError(
        f"cannot attach {one_line(name)!r}: it has {size}, and a {kind} may have {size_text(most)}; attach a part of it"
    )


def _suffix(path: Path) -> str:
    suffix = path.suffix[1:].lower()
    return suffix if suffix.isalnum() and suffix.isascii() and len(suffix) <= 20 else ""


def check_total_size(attachments: Iterable[Attachment]) -> None:
    """Refuse more than one message can carry.

    Raises:
        UsageError: they are too large together.
    """
    size = sum(len(attachment.data) for attachment in attachments)
    if size > MAX_MESSAGE_BYTES:
        raise UsageError(
            f"the attachments have {size_text(size)} together, and a message may have {size_text(MAX_MESSAGE_BYTES)};"
            " spread them over several"
        )


def compose(question: str, attachments: Sequence[Attachment]) -> Content:
    """Return the content of a question: one text, or parts when there are pictures or PDFs.

    Raises:
        UsageError: the attachments are too large together.
    """
    check_total_size(attachments)
    texts = [question, *(a.fenced() for a in attachments if a.text is not None)]
    text = "\n\n".join(piece for piece in texts if piece.strip())
    parts = [attachment.part() for attachment in attachments if attachment.text is None]
    if not parts:
        return text
    return [{"type": "text", "text": text}, *parts] if text else parts


def attach(question: str, *paths: str | os.PathLike[str]) -> Content:
    """Return a question with files, for `Agent.process` and its relatives.

    Text files go into the text; pictures (PNG, JPEG, GIF, WebP) and PDF files become content parts of Chat
    Completions, with the data in them. A session keeps that data once, however often it is used.

    Raises:
        UsageError: a file cannot be read, is too large, or is of another kind.
    """
    return compose(question, [read_attachment(path) for path in paths])


# On the way to the model.


class AttachmentResolver:
    """The attachments of one session, read when they are sent and once a turn.

    Args:
        load: returns the record of a SHA-256 in hex; see `SessionStore.attachment`.
    """

    def __init__(self, load: Callable[[str], Any]) -> None:
        self._load = load
        self._known: dict[str, Any] = {}
        self._reported: set[str] = set()

    def __call__(self, sha256: str) -> Any:
        """Return an attachment's record; None when it is lost or damaged."""
        if sha256 not in self._known:
            try:
                self._known[sha256] = self._load(sha256)
            except (SessionNotFound, CorruptSession):
                self._known[sha256] = None
        return self._known[sha256]

    def resolve(
        self, records: Sequence[Mapping[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[str]]:
        """Return messages as a model is sent them, and what the person should be told of lost attachments, once."""
        missing: list[str] = []
        sent = []
        for record in records:
            content, lost = inlined(record.get("content", ""), self)
            sent.append({**record, "content": published(content)})
            missing += lost
        told = [label for label in dict.fromkeys(missing) if label not in self._reported]
        self._reported.update(told)
        return sent, [
            f"{one_line(label)} is lost: its data is not in the session any more" for label in told
        ]


def resolve_attachments(content: Content, load: Callable[[str], Any]) -> Content:
    """Return a stored content with its data in it, so that it can be asked again where the data may not be."""
    return inlined(content, AttachmentResolver(load))[0]


# When the model takes none.

_REFUSING = frozenset({400, 413, 415, 422})
_ABOUT_PARTS = re.compile(
    r"image|vision|multimodal|mmproj|\bpdf\b|\bfiles?\b|\baudio\b", re.IGNORECASE
)


def explain_refusal(
    error: ModelError, records: Iterable[Mapping[str, Any]], model: str
) -> ModelError:
    """Return a refusal with what to do when the attachments may be the reason, any other error as it is."""
    too_long = isinstance(error, ContextLengthExceeded) and error.status != 413
    if too_long or not isinstance(error, ModelRefused):
        return error
    if error.status not in _REFUSING and not _ABOUT_PARTS.search(str(error)):
        return error
    kinds = [
        part.get("type") for record in records for part in other_parts(record.get("content", ""))
    ]
    names = [_counted(kinds.count(kind), name) for kind, name in _KINDS.items() if kind in kinds]
    if not names:
        return error
    return ModelRefused(
        f"{error}; it was sent {' and '.join(names)}, which {model} may not take: choose a model that does"
        " (--model, /retry -m), or ask without",
        status=error.status,
    )


def _counted(count: int, name: str) -> str:
    return f"1 {name}" if count == 1 else f"{count} {name}s"
