"""Message text in HTML: answers as Markdown, other text verbatim with code blocks and links."""

from __future__ import annotations

import re
from collections.abc import Iterator

from omniagent_cli.formats.writers.html.code import code_block
from omniagent_cli.formats.writers.html.escaping import escape_text
from omniagent_cli.formats.writers.html.links import link_urls
from omniagent_cli.formats.writers.markdown import FENCE

MAX_MARKDOWN = 50_000
"""Length limit for Markdown rendering, in characters; longer answers are shown verbatim. The worst case takes
about 20 microseconds per character."""

_MARKUP = re.compile(
    r"[`*_\[\]<~\\|$]|https?:|&#?\w|  $|^[ \t]|^(?:[-+=>#]|\d+[.)])|\n[^\S\n]+\n",
    re.MULTILINE | re.IGNORECASE,
)
"""Anything that may be more than a plain paragraph."""


def render_markdown(text: str) -> str:
    """Return sanitized Markdown as HTML; HTML, images and scripts in it have no effect."""
    if not _MARKUP.search(text):
        return "".join(_paragraphs(text))  # twenty times as fast, and sufficient for most prose
    if len(text) > MAX_MARKDOWN:
        return render_plain(text)
    from omniagent_cli.formats.writers.html.markup import render

    return render(text)


def render_plain(text: str) -> str:
    """Return sanitized text verbatim, with its code blocks and links."""
    return "".join(
        code_block(piece, language)
        if language is not None
        else f'<div class="plain" dir="auto">{link_urls(piece)}</div>\n'
        for piece, language in _pieces(text)
    )


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        if paragraph:
            yield f'<p dir="auto">{escape_text(paragraph)}</p>\n'


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield text and None, or code and its language, split at Markdown fences."""
    if "```" not in text and "~~~" not in text:
        yield text, None
        return
    lines: list[str] = []
    fence = language = ""
    for line in [*text.split("\n"), None]:
        match = FENCE.match(line) if line is not None else None
        ends = fence and match and match[1].startswith(fence) and not match[2].strip()
        begins = not fence and match and not ("`" in match[1] and "`" in match[2])
        if line is None or ends or begins:
            if lines or fence:
                yield "\n".join(lines), language if fence else None
            lines = []
            fence = match[1] if begins and match else ""
            language = (match[2].split() or [""])[0] if begins and match else ""
        else:
            lines.append(line)
