"""Code blocks, highlighted by Pygments if the language is known, in bounded time."""

from __future__ import annotations

import re
from functools import lru_cache
from time import thread_time
from typing import Any

from omniagent_cli.formats.writers.html.escaping import escape_text, quote_attribute

MAX_HIGHLIGHTED = 6_000
"""Length limit for highlighting, in characters; longer blocks are usually data, and expensive."""

_SLOW_SECONDS = 1.0
"""Time after which a language is considered slow; a block normally takes a hundredth of it.

Some Pygments expressions take quadratic time on crafted input. A slow language is no longer highlighted in this
process, and after `_SLOW_LANGUAGES` of them none is."""

_SLOW_LANGUAGES = 3

_REPEATED = re.compile(r"(.{1,4}?)\1{250}", re.DOTALL)
"""Long repetition, as in most crafted slow input."""

LANGUAGES = frozenset(
    """
    awk bash bat batch c c++ clojure cmake console cpp cs csharp css dart diff docker dockerfile elixir erlang fish go
    golang graphql haskell hcl html http ini java javascript js json json5 jsonl jsx julia kotlin kt latex lua make
    makefile mjs nginx nix objective-c ocaml patch perl php pl postgres postgresql powershell properties proto ps1
    py py3 pycon python python3 r rb rs ruby rust scala scss sh shell sql svg swift terraform tex tf toml ts tsx
    typescript vb vim xml yaml yml zig zsh
    """.split()  # noqa: SIM905  # one word per line would not be more readable
)
"""Languages that are highlighted. Some of the five hundred that Pygments knows can be made to take minutes."""

_LEXERS = {
    "jsonl": "json",
    "kt": "kotlin",
    "mjs": "javascript",
    "patch": "diff",
    "svg": "xml",
    "vb": "vb.net",
}
"""Names that Pygments does not know, and its lexers for them."""

_CLASSES = (
    ("Token.Comment", "c"),
    ("Token.Keyword", "k"),
    ("Token.Name.Tag", "k"),
    ("Token.Name.Builtin", "b"),
    ("Token.Name.Function", "f"),
    ("Token.Name.Class", "f"),
    ("Token.Name.Decorator", "f"),
    ("Token.Name.Attribute", "f"),
    ("Token.Literal.String", "s"),
    ("Token.Literal.Number", "n"),
    ("Token.Generic.Inserted", "i"),
    ("Token.Generic.Deleted", "d"),
    ("Token.Generic.Heading", "f"),
    ("Token.Generic.Subheading", "f"),
    ("Token.Generic.Prompt", "c"),
)
"""Highlighted token types and their CSS classes; other tokens have the text color."""


def code_block(text: str, language: str = "") -> str:
    """Return a code block as HTML; the text must be sanitized."""
    name = language.lower()
    known = name in LANGUAGES
    inner = _highlight(text, name) if known and _is_highlightable(text, name) else ""
    label = f" data-language={quote_attribute(name)}" if known else ""
    return f"<pre{label}><code>{inner or escape_text(text)}</code></pre>\n"


_slow: set[str] = set()


def _is_highlightable(text: str, name: str) -> bool:
    if name in _slow or len(_slow) >= _SLOW_LANGUAGES:
        return False
    return len(text) <= MAX_HIGHLIGHTED and not _REPEATED.search(text)


def _highlight(text: str, name: str) -> str:
    """Return the highlighted code; empty if there is no lexer, or it did not preserve the text."""
    started = thread_time()
    pieces: list[str] = []
    previous, pending = "", ""
    length = 0
    lexer = _lexer(name)
    if lexer is None:
        return ""
    for kind, value in lexer.get_tokens(text):
        length += len(value)
        class_ = _class_of(kind)
        if class_ == previous:
            pending += value
            continue
        pieces.append(_span(pending, previous))
        previous, pending = class_, value
    pieces.append(_span(pending, previous))
    if thread_time() - started > _SLOW_SECONDS:
        _slow.add(name)
    return "".join(pieces) if length == len(text) else ""


def _span(text: str, class_: str) -> str:
    return (
        f'<span class="{class_}">{escape_text(text)}</span>'
        if class_ and text
        else escape_text(text)
    )


@lru_cache(maxsize=256)
def _class_of(kind: Any) -> str:
    name = str(kind)
    return next((c for prefix, c in _CLASSES if f"{name}.".startswith(f"{prefix}.")), "")


@lru_cache(maxsize=64)
def _lexer(name: str) -> Any:
    """Return the Pygments lexer of a language; None if this version has none."""
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        return get_lexer_by_name(_LEXERS.get(name, name), stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None
