"""Markdown elements that differ from rich's: no decoration that is copied along, nothing cut off."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import ClassVar

from markdown_it.token import Token
from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.markdown import (
    CodeBlock,
    Heading,
    HorizontalRule,
    ListItem,
    Markdown,
    MarkdownElement,
    TableDataElement,
    TableElement,
)
from rich.rule import Rule
from rich.segment import Segment
from rich.style import Style
from rich.syntax import ANSISyntaxTheme, Syntax
from rich.table import Table
from rich.text import Text

from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.palette import CODE, MARKDOWN, Background

_BETWEEN_COLUMNS = 2
_MIN_WIDTH = 8


def markdown_styles(background: Background) -> dict[str, Style]:
    """Return rich's Markdown styles for a background; none sets a background color."""
    named = {**MARKDOWN[""], **MARKDOWN[background]}
    return {f"markdown.{name}": Style.parse(style) for name, style in named.items()}


@lru_cache(maxsize=3)
def code_theme(background: str) -> ANSISyntaxTheme:
    """Return the syntax highlighting theme for a background."""
    named = {**CODE[""], **CODE[_as_background(background)]}
    return ANSISyntaxTheme(
        {tuple(name.split(".")): Style.parse(style) for name, style in named.items()}
    )


def _as_background(background: str) -> Background:
    return "light" if background == "light" else "dark" if background == "dark" else ""


class _Code(CodeBlock):
    """Code block without a frame and without added line breaks, so it can be copied."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code, theme = str(self.text).rstrip(), code_theme(self.theme)
        inside = options.max_width < console.width  # a list or quote, which indents lines itself
        syntax = Syntax(code, self.lexer_name, theme=theme, word_wrap=inside)
        if inside:
            yield syntax
            return
        colored = syntax.highlight(code.expandtabs(4))
        colored.rstrip()
        for line in colored.split("\n", allow_blank=True):
            yield from line.render(console, end="\n")


class _Heading(Heading):
    """Left-aligned heading, which keeps its place when the window is resized."""

    LEVEL_ALIGN: ClassVar[dict[str, JustifyMethod]] = {}


class _Item(ListItem):
    """List item whose number keeps its delimiter, and whose bullet is the box of a task."""

    mark = "."
    box = ""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Item:
        """Create an item from a token."""
        item = super().create(markdown, token)
        assert isinstance(item, cls)  # noqa: S101  # the base class creates an instance of cls
        item.mark = token.markup or cls.mark
        item.box = token.meta.get("box", "")
        return item

    def render_bullet(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render the item with a bullet."""
        yield from self._render_item(
            console, options, f" {self.box or '•'} ", "markdown.item.bullet"
        )

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        """Render the item with its number."""
        width = len(str(last_number)) + len(self.mark) + 2
        prefix = f"{number}{self.mark} ".rjust(width) + (f"{self.box} " if self.box else "")
        yield from self._render_item(console, options, prefix, "markdown.item.number")

    def _render_item(
        self, console: Console, options: ConsoleOptions, prefix: str, named: str
    ) -> RenderResult:
        """Render a prefix and the indented item; below the prefix and not indented if there is too little width."""
        style = console.get_style(named, default="none")
        inside = options.update(width=max(1, options.max_width - len(prefix)))
        if inside.max_width < _MIN_WIDTH:
            yield Segment(prefix.strip(), style)
            yield Segment.line()
            inside, prefix = options, ""
        for line in console.render_lines(self.elements, inside, style=self.style):
            yield Segment(prefix, style)
            yield from line
            yield Segment.line()
            prefix = " " * len(prefix)


class _Footnote(_Item):
    """Footnote below the text that refers to it, with its label in front."""

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Footnote:
        """Create a footnote from a token."""
        del markdown
        note = cls()
        note.mark = visible(str(token.meta.get("label", "")))
        return note

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        prefix = f"[{one_line(self.mark)}] "
        yield from self._render_item(console, options, prefix, "markdown.item.number")


class _Math(CodeBlock):
    """Block of math as its source, indented, without added line breaks."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del options
        style = console.get_style("markdown.math")
        for line in str(self.text).strip("\n").split("\n"):
            yield Segment(f"    {line.rstrip()}", style)
            yield Segment.line()


class _HorizontalRule(HorizontalRule):
    """Rule drawn as those of tables."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Rule(style=console.get_style("markdown.hr", default="none"), characters="─")


class _Table(TableElement):
    """Table, or one line per cell if its columns would split words."""

    width = 0

    @classmethod
    def create(cls, markdown: Markdown, token: Token) -> _Table:
        """Create a table from a token."""
        del token
        table = cls()
        table.width = getattr(markdown, "table_width", 0)
        return table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width == console.width:  # not in a list or quote
            options = options.update(width=max(self.width, console.width))
        titles = [cell.content for cell in self._titles()]
        rows = [[cell.content for cell in row.cells] for row in self.body.rows] if self.body else []
        columns = list(zip(titles, *rows, strict=False))
        widths = [max(map(_longest_word, column)) for column in columns]
        if sum(widths) + _BETWEEN_COLUMNS * len(widths) <= options.max_width:
            yield from console.render(_grid(titles, rows, widths), options)
        else:
            yield from _records(titles, rows)

    def _titles(self) -> list[TableDataElement]:
        row = self.header.row if self.header else None
        return row.cells if row else []


def _longest_word(text: Text) -> int:
    return max(map(cell_len, text.plain.split()), default=1)


def _grid(titles: list[Text], rows: list[list[Text]], widths: list[int]) -> Table:
    table = Table(
        box=SIMPLE,
        pad_edge=False,
        style="markdown.table.border",
        show_edge=False,
        collapse_padding=True,
    )
    for title, width in zip(titles, widths, strict=True):
        heading = title.copy()
        heading.stylize("markdown.table.header")
        table.add_column(
            heading,
            overflow="fold",
            min_width=width,
            justify=title.justify or "left",
        )
    for row in rows:
        table.add_row(*row)
    return table


def _records(titles: list[Text], rows: Iterable[list[Text]]) -> Iterator[Text]:
    for number, row in enumerate(rows):
        if number:
            yield Text()
        for title, cell in zip(titles, row, strict=False):
            yield Text.assemble((title.plain, "markdown.table.header"), ": ", cell)


ELEMENTS: dict[str, type[MarkdownElement]] = {
    **Markdown.elements,
    "fence": _Code,
    "code_block": _Code,
    "footnote_reference_open": _Footnote,
    "heading_open": _Heading,
    "hr": _HorizontalRule,
    "list_item_open": _Item,
    "math_block": _Math,
    "table_open": _Table,
}
