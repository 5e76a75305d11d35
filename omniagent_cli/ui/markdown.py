"""The one module that loads rich: Markdown laid out for a terminal, and the console others paint on."""

from __future__ import annotations

import io
from typing import TextIO

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


def harmless_markdown(text: str) -> Markdown:
    """Return untrusted Markdown to print; links show their targets instead of hiding them."""
    return Markdown(visible(text), hyperlinks=False)


def rendered(text: str, *, width: int, colored: bool) -> str:
    """Return untrusted Markdown as lines for a terminal."""
    lines = io.StringIO()
    console_on(lines, width=width, colored=colored).print(harmless_markdown(text))
    return "\n".join(line.rstrip() for line in lines.getvalue().rstrip("\n").split("\n"))
