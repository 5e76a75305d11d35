"""Attachments in HTML: images that browsers show without running anything are embedded, others are named."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from typing import Any

from omniagent_cli.formats.writers.html.escaping import escape_line
from omniagent_cli.models import inlined, other_parts, part_label
from omniagent_cli.models.parts import Part, part_name
from omniagent_cli.text.sanitize import cut

_KINDS = (
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/webp", re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
)
"""Embedded image types, detected by their first bytes; the declared type is ignored."""

_DATA = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_LEFT_OUT = "left out of this export"
_URL_LENGTH = 200


class ImageEmbedder:
    """Attachments of one session; each image is embedded once, at its first occurrence."""

    def __init__(self, load: Callable[[str], Any] | None) -> None:
        self._load = load
        self._first_anchors: dict[str, str] = {}

    def html(self, content: object, anchor: str) -> Iterator[str]:
        """Yield the non-text parts of a content as HTML.

        Args:
            content: content of a message.
            anchor: element id of the message.
        """
        for part in other_parts(content) if isinstance(content, list) else []:
            yield self._image_html(part, anchor) or self._label_html(part)

    def _image_html(self, part: Part, anchor: str) -> str:
        """Return an image; empty if the part is not a supported image."""
        url = _url(part)
        if not url:
            return ""
        if (first := self._first_anchors.get(url)) is not None:
            return f'<p class="attached"><a href="#{first}">{_label(part)}</a></p>\n'
        image = _decode_image(self._load_url(part))
        if image is None:
            return ""
        if len(url) < _URL_LENGTH:  # a reference; inline data is not remembered
            self._first_anchors[url] = anchor
        media_type, data = image
        source = f"data:{media_type};base64,{b64encode(data).decode()}"
        name = escape_line(cut(part_name(part), _URL_LENGTH))
        return (
            f'<figure><img src="{source}" alt="{name or "picture"}" loading="lazy">'
            f"<figcaption>{_label(part)}</figcaption></figure>\n"
        )

    def _load_url(self, part: Part) -> str:
        if self._load is None:
            return ""
        parts, _ = inlined([part], self._load)
        return _url(parts[0]) if isinstance(parts, list) else ""

    def _label_html(self, part: Part) -> str:
        suffix = ""
        if self._load is None:
            suffix = f" ({_LEFT_OUT})"
        elif (url := _url(part)) and not url.lower().startswith(("data:", "attachment:")):
            suffix = f' <span class="to">({escape_line(cut(url, _URL_LENGTH))})</span>'
        return f'<p class="attached">{_label(part)}{suffix}</p>\n'


def _label(part: Part) -> str:
    return escape_line(part_label(part, sized=True))


def _url(part: Part) -> str:
    inner = part.get("image_url") if part.get("type") == "image_url" else None
    url = inner.get("url") if isinstance(inner, dict) else None
    return url if isinstance(url, str) else ""


def _decode_image(url: str) -> tuple[str, bytes] | None:
    """Return media type and bytes of an image in a data URL."""
    head = _DATA.match(url)
    if head is None:
        return None
    try:
        data = b64decode(url[head.end() :], validate=True)
    except ValueError:
        return None
    return next(((kind, data) for kind, mark in _KINDS if mark.match(data)), None)
