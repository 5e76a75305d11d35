"""What was said -> HTML: answers as Markdown, all else as it was written, with code and links in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from omniagent_cli.formats.writers.html.code import code_block
from omniagent_cli.formats.writers.html.escaping import escape_text
from omniagent_cli.formats.writers.html.links import link_urls
from omniagent_cli.formats.writers.markdown import FENCE

MAX_MARKDOWN = 50_000
"""Characters of an answer that is laid out; a longer one is shown as it was written. The worst that fits takes
some 20 microseconds a character."""

_MARKUP = re.compile(
    r"[`*_\[\]<~\\|]|https?:|&#?\w|  $|^[ \t]|^(?:[-+=>#]|\d+[.)])|\n[^\S\n]+\n",
    re.MULTILINE | re.IGNORECASE,
)
"""Whatever might be more than a plain paragraph."""


def render_markdown(text: str) -> str:
    """Return Markdown as HTML; the text is `shown` already. No HTML, picture or script of it gets through."""
    if not _MARKUP.search(text):
        return "".join(_paragraphs(text))  # twenty times as fast, and most of prose
    if len(text) > MAX_MARKDOWN:
        return render_plain(text)
    from omniagent_cli.formats.writers.html.markup import render

    return render(text)


def render_plain(text: str) -> str:
    """Return text as it was written, with its blocks of code as such; the text is `shown` already."""
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
    """Yield text and None, or code and its language, as a writer of Markdown would have fenced it."""
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
