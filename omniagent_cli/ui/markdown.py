"""The one module that loads rich: Markdown laid out for a terminal, and the console others paint on."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache
from typing import TextIO

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console
from rich.markdown import Markdown

from omniagent_cli.text import visible


def console_on(stream: TextIO, *, width: int | None, colored: bool) -> Console:
    """Return a rich console that takes nothing for markup, emoji names or things to highlight."""
    return Console(
        file=stream,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=not colored,
        force_terminal=colored or None,
        legacy_windows=False,
    )


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    """Make rich's parser without what would hide words.

    rich shows no HTML at all, not even the ``<String>`` of ``List<String>``, and fails on ``</kbd>``. A link
    definition is not shown either, and the link it belongs to may stand in a block that is printed already.
    """
    hiding = ["html_block", "html_inline", "reference"]
    return MarkdownIt().enable(["strikethrough", "table"]).disable(hiding)


def parsed(text: str) -> list[Token]:
    """Parse `visible` Markdown as it will be shown."""
    return _parser().parse(text)


def _clean(tokens: Iterable[Token]) -> None:
    """Make harmless what entities such as ``&#x202e;`` became in the parser."""
    for token in tokens:
        if not token.content.isascii() or "\r" in token.content:
            token.content = visible(token.content)
        if token.children:
            _clean(token.children)


def harmless_markdown(text: str) -> Markdown:
    """Return untrusted Markdown to print; links show their targets instead of hiding them."""
    markdown = Markdown("", hyperlinks=False)
    markdown.markup = visible(text)
    markdown.parsed = parsed(markdown.markup)
    _clean(markdown.parsed)
    return markdown


def rendered(text: str, *, width: int, colored: bool) -> str:
    """Return untrusted Markdown as lines for a terminal."""
    lines = io.StringIO()
    console_on(lines, width=width, colored=colored).print(harmless_markdown(text))
    return "\n".join(line.rstrip() for line in lines.getvalue().rstrip("\n").split("\n"))
