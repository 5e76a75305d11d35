"""Markdown beyond CommonMark as models write it: math, footnotes, task lists, subscripts and superscripts.

Math blocks have rules of their own, because those of mdit-py-plugins do not interrupt a paragraph. Loaded only to render.
"""

from __future__ import annotations

import re
from textwrap import dedent

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from mdit_py_plugins.dollarmath.index import math_inline_dollar
from mdit_py_plugins.footnote.index import footnote_plugin, footnote_ref

_OPENING = re.compile(r"\$\$|\\\[|\\begin\{([a-z]+\*?)\}")
_CLOSING = {"$$": "$$", "\\[": "\\]"}
_REFERENCE = re.compile(r"\[\^[^\]\s]{1,100}\]")
_SCRIPT = re.compile(r"<(sub|sup)>([^<>\n]{1,100})</\1>")
_WORDS = re.compile(r"[^\W\d_]{2,}\s+[^\W\d_]{2,}")
_dollars = math_inline_dollar(allow_space=False, allow_digits=False)


def add_rules(parser: MarkdownIt) -> None:
    """Add the rules to a parser.

    Tokens: ``math_block`` and ``math_inline`` with the source as content and the opening delimiter as markup, ``script``
    with the tag ``sub`` or ``sup``, ``list_item_open`` with ``meta["checked"]`` for a task, ``footnote_ref``, and
    ``footnote_reference_open`` and ``_close`` where the note was written.
    """
    footnote_plugin(parser, inline=False, move_to_end=False)
    parser.inline.ruler.at("footnote_ref", _footnote_ref)
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before("fence", "math_block", _math_block, interrupts)
    parser.inline.ruler.before("escape", "math_inline", _math_inline)
    parser.inline.ruler.before("autolink", "script", _script)
    parser.options["tasklists"] = True


def _math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:  # noqa: FBT001  # signature of markdown-it
    """Match lines from an opening delimiter to the closing one, without blank lines."""
    if state.is_code_block(start):
        return False
    first = state.bMarks[start] + state.tShift[start]
    opening = _OPENING.match(state.src, first, state.eMarks[start])
    if opening is None:
        return False
    closing = _CLOSING.get(opening[0]) or f"\\end{{{opening[1]}}}"
    unclosed = state.env.setdefault("unclosed_math", {})
    if unclosed.get(closing, -1) > start:
        return False
    place = opening.end()
    for line in range(start, end):
        if line > start and (state.isEmpty(line) or state.sCount[line] < state.blkIndent):
            break
        text = state.src[place : state.eMarks[line]].rstrip()
        if text.endswith(closing):
            return _push_math(state, start, line, opening, closing, silent=silent)
        if line + 1 < end:
            place = state.bMarks[line + 1]
    unclosed[closing] = line
    return False


def _push_math(
    state: StateBlock, start: int, line: int, opening: re.Match[str], closing: str, *, silent: bool
) -> bool:
    source = state.getLines(start, line + 1, state.blkIndent, keepLastLF=False).strip()
    if opening[0] in _CLOSING:
        source = dedent(source.removeprefix(opening[0]).removesuffix(closing).rstrip()).strip()
    if not source:
        return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.content, token.markup, token.map = source, opening[0], [start, line + 1]
    state.line = line + 1
    return True


def _footnote_ref(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # signature of markdown-it
    """Match a reference of limited length; that of the plugin takes quadratic time on unclosed ones."""
    return bool(_REFERENCE.match(state.src, state.pos, state.posMax)) and footnote_ref(
        state, silent
    )


def _math_inline(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # signature of markdown-it
    r"""Match ``\(...\)`` and ``$...$``, but not two prices or variables of a shell."""
    start = state.pos
    if state.src.startswith("\\(", start):
        end = state.src.find("\\)", start + 2, state.posMax)
        if end < 0 or not state.src[start + 2 : end].strip():
            return False
        if not silent:
            token = state.push("math_inline", "math", 0)
            token.content, token.markup = state.src[start + 2 : end], "\\("
        state.pos = end + 2
        return True
    if not _dollars(state, True):  # noqa: FBT003  # signature of markdown-it
        return False
    source, end = state.src[start + 1 : state.pos - 1], state.pos
    words = "\\" not in source and _WORDS.search(source)
    if words or "`" in source or state.src[end : end + 1].isalnum():
        state.pos = start
        return False
    state.pos = start
    return _dollars(state, silent)


def _script(state: StateInline, silent: bool) -> bool:  # noqa: FBT001  # signature of markdown-it
    found = _SCRIPT.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        token = state.push("script", found[1], 0)
        token.content = found[2]
    state.pos = found.end()
    return True
