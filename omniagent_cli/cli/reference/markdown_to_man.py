"""Conversion of a page of the manual from Markdown to man(7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token


def man_lines(markdown: str, escape: Callable[[str], str]) -> Iterator[str]:
    """Yield the lines of a page.

    The first heading becomes a section, deeper ones subsections, a table a list tagged by its first column.

    Args:
        markdown: the page; headings, paragraphs, bullet lists, tables and fenced blocks are understood.
        escape: makes a line of text safe for the formatter.
    """
    previous = ""
    for line in _lines(markdown, escape):
        if line == ".PP" and previous.startswith((".SH", ".SS")):
            continue  # the heading begins a paragraph
        yield line
        previous = line


def _lines(markdown: str, escape: Callable[[str], str]) -> Iterator[str]:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    cells: list[str] = []
    in_item = False
    for position, token in enumerate(tokens):
        if token.type == "fence":
            yield from (".PP", ".EX", *map(escape, token.content.rstrip("\n").split("\n")), ".EE")
        elif token.type == "list_item_open":
            in_item = True
            yield '.IP "\\(bu" 2'
        elif token.type == "list_item_close":
            in_item = False
        elif token.type == "tr_open":
            cells = []
        elif token.type == "tr_close" and tokens[position + 1].type != "thead_close":
            yield from _row(cells, escape)
        elif token.type == "inline":
            opener, text = tokens[position - 1], _text(token)
            if opener.type in ("td_open", "th_open"):
                cells.append(text)
            elif opener.type == "heading_open":
                yield from _heading(opener, text, escape)
            else:
                yield from ((escape(text),) if in_item else (".PP", escape(text)))


def _heading(opener: Token, text: str, escape: Callable[[str], str]) -> Iterator[str]:
    yield f".SH {escape(text.upper())}" if opener.tag == "h1" else f".SS {escape(text)}"


def _row(cells: Sequence[str], escape: Callable[[str], str]) -> Iterator[str]:
    tag, *rest = cells
    yield from (
        ".TP",
        f".B {escape(tag or '(none)')}",
        escape("; ".join(filter(None, rest)) or "(none)"),
    )


def _text(token: Token) -> str:
    """Return the text of inline Markdown without marks; a line break is a space."""
    parts = []
    for child in token.children or ():
        if child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type in ("text", "code_inline"):
            parts.append(child.content)
    return "".join(parts)
