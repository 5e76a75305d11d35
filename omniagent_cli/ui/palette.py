"""Readable colors for light, dark and unknown backgrounds.

All are colors of the terminal's own palette, so its theme determines their appearance. For an unknown background only
colors that are readable on both are used; the terminal is not queried, because its reply would mix with typed keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Background = Literal["light", "dark", ""]

_LIGHT_NUMBERS = frozenset({7, *range(9, 16)})
_SGR = {
    "bold": "1", "dim": "2", "italic": "3", "underline": "4", "reverse": "7",
    "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
}  # fmt: skip
_FIRST_COLOR = 30
_ON_LIGHT = {**_SGR, "yellow": "35", "cyan": "34"}
_ON_DARK = {**_SGR, "blue": "94"}


def background_of(theme: str, environ: Mapping[str, str]) -> Background:
    """Return the terminal's background as configured or from ``COLORFGBG``; empty if unknown."""
    if theme in ("light", "dark"):
        return "light" if theme == "light" else "dark"
    number = environ.get("COLORFGBG", "").rpartition(";")[2]
    if not number.isdecimal() or int(number) > 15:
        return ""
    return "light" if int(number) in _LIGHT_NUMBERS else "dark"


def styled(text: str, style: str, background: Background = "") -> str:
    """Return text with the escape sequences of a style such as ``bold red``."""
    codes = {"light": _ON_LIGHT, "dark": _ON_DARK, "": _SGR}[background]
    return f"\x1b[{';'.join(codes[name] for name in style.split())}m{text}\x1b[0m"


def attributes_of(style: str) -> str:
    """Return a style without its colors."""
    return " ".join(name for name in style.split() if int(_SGR[name]) < _FIRST_COLOR)


MARKDOWN: Mapping[Background, Mapping[str, str]] = {
    "": {
        "code": "cyan",
        "block_quote": "italic",
        "item.number": "cyan",
        "item.bullet": "cyan",
        "h1": "bold underline",
        "h2": "bold magenta",
        "h3": "bold magenta",
        "h4": "magenta",
        "hr": "dim",
        "math": "cyan",
        "link": "underline",
        "link_url": "cyan",
        "table.border": "dim",
        "table.header": "bold",
    },
    "light": {
        "code": "blue",
        "math": "blue",
        "item.number": "blue",
        "item.bullet": "blue",
        "link_url": "blue",
    },
    "dark": {"code": "bright_cyan", "math": "bright_cyan", "link_url": "bright_blue"},
}
"""Markdown styles by background; the entries for an unknown background are the defaults."""

CODE: Mapping[Background, Mapping[str, str]] = {
    "": {
        "Comment": "dim",
        "Comment.Preproc": "cyan",
        "Keyword": "magenta",
        "Keyword.Type": "cyan",
        "Operator.Word": "magenta",
        "Name.Builtin": "cyan",
        "Name.Class": "bold",
        "Name.Decorator": "magenta",
        "Name.Exception": "cyan",
        "Name.Function": "bold",
        "Name.Tag": "magenta",
        "Name.Attribute": "cyan",
        "Literal.String": "green",
        "Literal.Number": "cyan",
        "Generic.Deleted": "red",
        "Generic.Inserted": "green",
        "Generic.Heading": "bold",
        "Generic.Subheading": "bold magenta",
        "Generic.Error": "red",
    },
    "light": {"Keyword": "blue", "Literal.Number": "red", "Name.Builtin": "magenta"},
    "dark": {
        "Keyword": "bright_blue",
        "Keyword.Type": "bright_cyan",
        "Name.Function": "bright_green",
        "Name.Class": "bright_green",
        "Name.Builtin": "bright_cyan",
        "Literal.String": "yellow",
        "Literal.Number": "bright_magenta",
    },
}
"""Styles by Pygments token and background, with the same defaults."""
