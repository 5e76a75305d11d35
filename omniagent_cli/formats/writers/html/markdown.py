"""What was said -> HTML: answers as Markdown, all else as it was written, with code and links in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from omniagent_cli.formats.writers.html.code import block
from omniagent_cli.formats.writers.html.escaping import escaped
from omniagent_cli.formats.writers.html.links import linked
from omniagent_cli.formats.writers.markdown import FENCE

MAX_MARKDOWN = 50_000
"""Characters of an answer that is laid out; a longer one is shown as it was written. The worst that fits takes
some 20 microseconds a character."""

_MARKUP = re.compile(
    r"[`*_\[\]<~\\|]|https?:|&#?\w|  $|^[ \t]|^(?:[-+=>#]|\d+[.)])|\n[^\S\n]+\n",
    re.MULTILINE | re.IGNORECASE,
)
"""Whatever might be more than a plain paragraph."""


def markdown(text: str) -> str:
    """Return Markdown as HTML; the text is `shown` already. No HTML, picture or script of it gets through."""
    if not _MARKUP.search(text):
        return "".join(_paragraphs(text))  # twenty times as fast, and most of prose
    if len(text) > MAX_MARKDOWN:
        return plain(text)
    from omniagent_cli.formats.writers.html.markup import rendered

    return rendered(text)


def plain(text: str) -> str:
    """Return text as it was written, with its blocks of code as such; the text is `shown` already."""
    return "".join(
        block(piece, language)
        if language is not None
        else f'<div class="plain" dir="auto">{linked(piece)}</div>\n'
        for piece, language in _pieces(text)
    )


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n{2,}", text.strip("\n")):
        if paragraph:
            yield f'<p dir="auto">{escaped(paragraph)}</p>\n'


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Yield text and None, or code and its language, as a writer of Markdown would have fenced it."""
    if "```" not in text and "~~~" not in text:
        yield text, None
        return
    held: list[str] = []
    fence = language = ""
    for line in [*text.split("\n"), None]:
        match = FENCE.match(line) if line is not None else None
        ends = fence and match and match[1].startswith(fence) and not match[2].strip()
        begins = not fence and match and not ("`" in match[1] and "`" in match[2])
        if line is None or ends or begins:
            if held or fence:
                yield "\n".join(held), language if fence else None
            held = []
            fence = match[1] if begins and match else ""
            language = (match[2].split() or [""])[0] if begins and match else ""
        else:
            held.append(line)
