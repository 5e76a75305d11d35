"""Links in HTML: web and mail addresses only, each with its target shown."""

from __future__ import annotations

import re

from omniagent_cli.formats.writers.html.escaping import escape_text, quote_attribute
from omniagent_cli.text.sanitize import cut

_TARGET_LENGTH = 200
_LINK = re.compile(r"https?://[^\s<>\"'`\\^{|}]+", re.IGNORECASE)
_SAFE = re.compile(r"(?:https?://|mailto:)[^/]", re.IGNORECASE)


def link_urls(text: str) -> str:
    """Return text as HTML with its URLs as links."""
    if "://" not in text:
        return escape_text(text)
    from markdown_it.common.normalize_url import normalizeLink

    pieces: list[str] = []
    end = 0
    for match in _LINK.finditer(text):
        url = _trim_punctuation(match.group())
        target = normalizeLink(url)
        if not is_safe(target):
            continue
        pieces += [
            escape_text(text[end : match.start()]),
            link_start(target),
            escape_text(url),
            "</a>",
        ]
        pieces.append(link_target_note(target, url))
        end = match.start() + len(url)
    return "".join([*pieces, escape_text(text[end:])])


def is_safe(url: str) -> bool:
    """Return True if a URL may be a link: http, https or mailto."""
    return _SAFE.match(url) is not None


def link_start(target: str) -> str:
    """Return the start tag of a link to a safe URL; no referrer is sent."""
    return f'<a href={quote_attribute(target)} rel="noreferrer noopener">'


def link_target_note(target: str, text: str) -> str:
    """Return the target of a link as a note after it, if the link text differs."""
    if text.strip() in (target, target.removeprefix("mailto:"), target.removesuffix("/")):
        return ""
    return f' <span class="to">({escape_text(cut(target, _TARGET_LENGTH))})</span>'


def _trim_punctuation(url: str) -> str:
    url = url.rstrip(".,;:!?*_~")
    while url.endswith((")", "]")) and url.count("(") < url.count(")") + url.count("]"):
        url = url[:-1].rstrip(".,;:!?*_~")
    return url
