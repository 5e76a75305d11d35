"""Content parts: attachments of a message, their stored form and their labels.

A part has the shape of Chat Completions (https://platform.openai.com/docs/api-reference/chat/create). Where the
protocol has a picture's or a file's data, a stored message has a reference, and the data is kept once, in the
session's ``attachment`` record of that SHA-256::

    {"type": "image_url", "image_url": {"url": "attachment:sha256:<64 hex digits>"},
     "name": "cat.png", "media_type": "image/png", "size": 120000}
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "attachment:sha256:<64 hex digits>"},
     "name": "a.pdf", "media_type": "application/pdf", "size": 80000}

``name``, ``media_type`` and ``size`` (in bytes) are additional keys for display and formats; they are not sent.
`detached` returns the stored form of content with data, `inlined` the reverse, `published` the form that is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omniagent_cli.json_format import clone

Content = str | list[dict[str, Any]]
Part = dict[str, Any]
Load = Callable[[str], Any]
"""Returns the ``attachment`` record of a SHA-256 in hex, or None."""

REFERENCE = "attachment:sha256:"

_PLACES = {
    "image_url": ("image_url", "url"),
    "file": ("file", "file_data"),
    "input_audio": ("input_audio", "data"),
}
"""The keys of the data in a part, by type."""

_KINDS = {"image_url": "image", "input_image": "image", "input_file": "file"}
_KINDS["input_audio"] = "audio"
_OWN_KEYS = ("name", "media_type", "size")
_NAME_LENGTH = 120
_KIND_LENGTH = 40
_REFERENCE = re.compile(r"attachment:sha256:([0-9a-f]{64})")
_DATA_URL = re.compile(r"data:([\w./+-]{0,100})(?:;[^;,\s]{0,100}){0,4};base64,", re.IGNORECASE)


def content_text(content: Content) -> str:
    """Return content as text, one part per line; other parts are labels such as ``[image: cat.png]``."""
    if isinstance(content, str):
        return content
    texts = (part_label(part) if (text := _text(part)) is None else text for part in content)
    return "\n".join(text for text in texts if text)


def plain_text(content: Content) -> str:
    """Return only the text parts of content, one per line."""
    if isinstance(content, str):
        return content
    return "\n".join(text for part in content if (text := _text(part)))


def other_parts(content: Content) -> list[Part]:
    """Return the parts of content that are not text."""
    return [] if isinstance(content, str) else [part for part in content if _text(part) is None]


def part_label(part: Part, *, sized: bool = False) -> str:
    """Return a one-line label of a part: ``[image: cat.png]``, or ``[image: cat.png, 120 kB]``.

    The name is untrusted, with whitespace and length normalized; it is sanitized where it is displayed.
    """
    kind = part.get("type")
    kind = _KINDS.get(kind, kind) if isinstance(kind, str) and kind.strip() else "attachment"
    facts = [name] if (name := _short(part_name(part), _NAME_LENGTH)) else []
    size = part.get("size")
    if sized and isinstance(size, int) and not isinstance(size, bool):
        facts.append(size_text(size))
    told = f": {', '.join(facts)}" if facts else ""
    return f"[{_short(kind, _KIND_LENGTH)}{told}]"


def part_name(part: Part) -> str:
    """Return the name of a part; empty without one."""
    file = part.get("file")
    names = (part.get("name"), file.get("filename") if isinstance(file, dict) else None)
    return next((name for name in names if isinstance(name, str) and name.strip()), "")


def size_text(size: int) -> str:
    """Return a size for display: ``80 bytes``, ``120 kB``, ``3.4 MB``."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1000:.0f} kB" if size < 999_500 else f"{size / 1_000_000:.1f} MB"


def references(content: Content) -> list[str]:
    """Return the SHA-256 of each attachment that content refers to."""
    found = []
    for part in other_parts(content):
        if place := _place(part):
            match = _REFERENCE.fullmatch(part[place[0]][place[1]])
            found += [match[1]] if match else []
    return found


def detached(content: Content) -> tuple[Content, dict[str, dict[str, Any]]]:
    """Return content in its stored form, and the attachment records of its data, by SHA-256.

    Web URLs, and data that is not base64, are not changed.
    """
    records: dict[str, dict[str, Any]] = {}
    if isinstance(content, str):
        return content, records
    return [_detached(part, records) for part in content], records


def _detached(part: Part, records: dict[str, dict[str, Any]]) -> Part:
    place = _place(part)
    if place is None:
        return part
    import hashlib
    from base64 import b64encode

    found = _decoded(part, part[place[0]][place[1]])
    if found is None:
        return part
    media_type, data = found
    sha256 = hashlib.sha256(data).hexdigest()
    facts = {"media_type": media_type, "size": len(data)}
    if name := part_name(part):
        facts = {"name": name, **facts}
    records[sha256] = {**facts, "data": b64encode(data).decode()}
    own: Part = clone(part)
    own[place[0]][place[1]] = f"{REFERENCE}{sha256}"
    return {**own, **facts}


def _decoded(part: Part, value: str) -> tuple[str, bytes] | None:
    """Return media type and bytes of a data URL; for files and sound also of bare base64, as in the protocol."""
    from base64 import b64decode

    head = _DATA_URL.match(value)
    if head is None and (part["type"] == "image_url" or value.startswith(REFERENCE)):
        return None
    try:
        data = b64decode(value[head.end() :] if head else value, validate=True)
    except ValueError:
        return None
    if not data:
        return None
    return (head[1].lower() if head else "") or _media_type(part), data


def _media_type(part: Part) -> str:
    sound = part.get("input_audio")
    if isinstance(sound, dict):
        return f"audio/{sound.get('format') or 'wav'}"
    return (
        "application/pdf"
        if part_name(part).lower().endswith(".pdf")
        else "application/octet-stream"
    )


def inlined(
    content: Content, load: Load, *, why: str = "lost: its data no longer exists"
) -> tuple[Content, list[str]]:
    """Return content with embedded data instead of references, and the labels of lost attachments.

    A part whose attachment is missing becomes a text that gives the reason.
    """
    if isinstance(content, str):
        return content, []
    lost: list[str] = []
    return [_inlined(part, load, lost, why) for part in content], lost


def _inlined(part: Part, load: Load, lost: list[str], why: str) -> Part:
    place = _place(part)
    match = _REFERENCE.fullmatch(part[place[0]][place[1]]) if place else None
    if place is None or match is None:
        return part
    record = load(match[1])
    if not _is_whole(record, match[1]):
        label = part_label(part)
        lost.append(label)
        return {"type": "text", "text": f"{label} (this attachment is {why})"}
    own: Part = clone(part)
    kinds = (part.get("media_type"), record.get("media_type"))
    media_type = next((kind for kind in kinds if isinstance(kind, str)), "")
    head = "" if part["type"] == "input_audio" else f"data:{media_type};base64,"
    own[place[0]][place[1]] = head + record["data"]
    return own


def _is_whole(record: Any, sha256: str) -> bool:
    """Return True if the data of an attachment record matches its key."""
    import hashlib
    from base64 import b64decode

    data = record.get("data") if isinstance(record, Mapping) else None
    if not isinstance(data, str):
        return False
    try:
        return hashlib.sha256(b64decode(data, validate=True)).hexdigest() == sha256
    except ValueError:
        return False


def published(content: Content) -> Content:
    """Return content with only the protocol's keys; content of only text becomes a string.

    Servers without attachments reject even a list of texts. A text part with other keys (provider data) stays a part.
    """
    if isinstance(content, str):
        return content
    if all(part.keys() == {"type", "text"} and _text(part) is not None for part in content):
        return plain_text(content)
    return [
        {key: value for key, value in part.items() if key not in _OWN_KEYS}
        if _place(part)
        else part
        for part in content
    ]


def reworded(content: Content, text: str) -> Content:
    """Return content with another text and the same attachments."""
    rest = other_parts(content)
    return [{"type": "text", "text": text}, *rest] if rest else text


def _place(part: Part) -> tuple[str, str] | None:
    """Return the keys of the data of a part, as text."""
    kind = part.get("type")
    place = _PLACES.get(kind) if isinstance(kind, str) else None
    if place is None:
        return None
    inner = part.get(place[0])
    return place if isinstance(inner, dict) and isinstance(inner.get(place[1]), str) else None


def _text(part: Part) -> str | None:
    """Return the text of a part, or None if it is not text."""
    texts: Iterator[Any] = (part.get(key) for key in ("text", "refusal"))
    return next((text for text in texts if isinstance(text, str)), None)


def _short(text: str, length: int) -> str:
    folded = " ".join(text.split())
    return folded if len(folded) <= length else folded[: length - 1] + "…"
