"""Markdown layout for terminals; the only module that loads rich."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar, TextIO

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console
from rich.markdown import Markdown
from rich.theme import Theme

from omniagent_cli.text.markdown_rules import add_rules
from omniagent_cli.text.sanitize import visible
from omniagent_cli.ui.inline import adapt_inline
from omniagent_cli.ui.markdown_elements import ELEMENTS, markdown_styles
from omniagent_cli.ui.palette import Background


def make_console(
    stream: TextIO, *, width: int, styling: str, background: Background = ""
) -> Console:
    """Return a rich console without markup, emoji names and highlighting.

    Args:
        stream: the output.
        width: columns.
        styling: ``color``, ``attributes`` such as bold without color, or empty.
        background: background of the terminal.
    """
    return Console(
        file=stream,
        width=width,
        markup=False,
        emoji=False,
        highlight=False,
        no_color=styling != "color",
        force_terminal=bool(styling) or None,
        legacy_windows=False,
        theme=_theme(background),
    )


@lru_cache(maxsize=3)
def _theme(background: Background) -> Theme:
    return Theme(markdown_styles(background))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    """Return rich's parser without rules that would hide text.

    rich does not display HTML, not even the ``<String>`` of ``List<String>``, and fails on ``</kbd>``. Link
    definitions are hidden too, and the link may be in a block that is already printed.
    """
    hiding = ["html_block", "html_inline", "reference"]
    parser = MarkdownIt().enable(["strikethrough", "table"]).disable(hiding)
    add_rules(parser)
    return parser


def parse_markdown(text: str) -> list[Token]:
    """Parse `visible` Markdown with the parser used for display."""
    return _parser().parse(text)


def _sanitize_tokens(tokens: Iterable[Token], *, marks: bool, unicode: bool) -> None:
    """Sanitize characters that entities such as ``&#x202e;`` produced in the parser, and replace inline tokens unknown to rich.

    Args:
        tokens: tokens, which are changed.
        marks: keep the marks of struck out text, where no style shows it.
        unicode: characters other than ASCII may be drawn.
    """
    for token in tokens:
        adapt_inline(token, unicode=unicode)
        if marks and token.type in ("s_open", "s_close"):
            token.type, token.tag, token.content = "text", "", token.markup
        if not token.content.isascii() or "\r" in token.content:
            token.content = visible(token.content)
        if token.type == "image":  # rich would print it above the surrounding text
            token.type, token.tag = "text", ""
            address = visible(str(token.attrs.get("src", "")))
            token.content, token.children = f"{token.content or 'image'} ({address})", None
        if token.children:
            _sanitize_tokens(token.children, marks=marks, unicode=unicode)


class _Markdown(Markdown):
    """Markdown whose tables may be wider than its prose.

    Attributes:
        table_width: columns for tables.
    """

    elements: ClassVar = ELEMENTS
    table_width = 0


def render_markdown(
    text: str,
    *,
    width: int,
    table_width: int,
    styling: str,
    background: Background = "",
    unicode: bool = True,
) -> str:
    """Return untrusted Markdown as lines for a terminal; links show their targets, lines of code are not wrapped.

    Args:
        text: the Markdown.
        width: columns for prose.
        table_width: columns for tables.
        styling: see `make_console`.
        background: background of the terminal.
        unicode: characters other than ASCII may be drawn.
    """
    markdown = _Markdown("", hyperlinks=False, code_theme=background)
    markdown.table_width = table_width
    markdown.markup = visible(text)
    markdown.parsed = parse_markdown(markdown.markup)
    _sanitize_tokens(markdown.parsed, marks=not styling, unicode=unicode)
    lines = io.StringIO()
    console = make_console(lines, width=width, styling=styling, background=background)
    console.print(markdown, crop=False)
    return "\n".join(_strip_padding(line) for line in lines.getvalue().rstrip("\n").split("\n"))


_PADDING = re.compile(r"(?:\s|\x1b\[0?m|\x1b\[[0-9;]+m(?=\s))+\Z")


def _strip_padding(line: str) -> str:
    """Remove trailing padding, which would be copied with the text; styles are closed."""
    found = _PADDING.search(line)
    if found is None:
        return line
    return line[: found.start()] + (
        "\x1b[0m" if "\x1b[0m" in found[0] or "\x1b[m" in found[0] else ""
    )
