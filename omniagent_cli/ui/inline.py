"""Inline Markdown that rich does not know: math, subscripts, footnote references and the boxes of tasks."""

from __future__ import annotations

import re

from markdown_it.token import Token

_SUBSCRIPTS = dict(
    zip("0123456789+-=()aehijklmnoprstuvx", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", strict=True)
)
_SUPERSCRIPTS = dict(
    zip(
        "0123456789+-=()abcdefghijklmnoprstuvwxyz",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ",
        strict=True,
    )
)
_NUMBERED = re.compile(r"\[\^(\d{1,4})\]")
_DELIMITERS = {"$": ("$", "$"), "\\(": ("\\(", "\\)")}


def adapt_inline(token: Token, *, unicode: bool) -> None:
    """Replace an inline token that rich does not know; draw only ASCII unless `unicode`."""
    if token.type == "math_inline":
        opening, closing = _DELIMITERS[token.markup]
        token.type, token.tag = "code_inline", "code"
        token.content = f"{opening}{token.content}{closing}"
    elif token.type == "script":
        token.content = _script(token.content, token.tag, unicode=unicode)
        token.type, token.tag = "text", ""
    elif token.type == "footnote_ref":
        token.type, token.content = "text", f"[{token.meta['label']}]"
    elif token.type == "text" and "[^" in token.content:  # its definition may be in a later block
        token.content = _NUMBERED.sub(r"[\1]", token.content)
    elif token.type == "list_item_open" and "checked" in token.meta:
        boxes = ("☐", "☑") if unicode else ("[ ]", "[x]")
        token.meta["box"] = boxes[token.meta["checked"]]


def _script(text: str, tag: str, *, unicode: bool) -> str:
    characters = _SUBSCRIPTS if tag == "sub" else _SUPERSCRIPTS
    if unicode and all(character in characters for character in text):
        return "".join(characters[character] for character in text)
    mark = "_" if tag == "sub" else "^"
    return f"{mark}{text}" if len(text) == 1 or text.isdecimal() else f"{mark}({text})"
