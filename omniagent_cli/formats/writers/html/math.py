"""Math in HTML: TeX as MathML, which browsers display without scripts."""

from __future__ import annotations

import html
import re
from xml.etree.ElementTree import Element, tostring

from omniagent_cli.formats.writers.html.escaping import escape_text, sanitize

_MAX_LENGTH = 2_000
"""Length limit for conversion, in characters; longer formulas are shown as source."""

_MACROS = re.compile(r"\\(?:re)?newcommand|\\[exg]?def|\\let|\\href|\\style|\\class")
"""Commands that could expand without limit, or set attributes."""

_ELEMENTS = re.compile(r"m[a-z]+|math")
_ATTRIBUTES = frozenset(  # of MathML Core and of tables
    [
        "accent",
        "align",
        "columnalign",
        "columnlines",
        "columnspacing",
        "depth",
        "display",
        "displaystyle",
        "fence",
        "form",
        "height",
        "linethickness",
        "lspace",
        "mathvariant",
        "maxsize",
        "minsize",
        "movablelimits",
        "notation",
        "rowlines",
        "rowspacing",
        "rspace",
        "scriptlevel",
        "separator",
        "stretchy",
        "symmetric",
        "voffset",
        "width",
        "xmlns",
    ]  # more readable than a list
)


def mathml(source: str, *, block: bool) -> str:
    """Return TeX as MathML, and as its source if it cannot be converted."""
    tree = None if len(source) > _MAX_LENGTH or _MACROS.search(source) else _convert(source, block)
    if tree is None:
        tag = "pre" if block else "code"
        return f'<{tag} class="math">{escape_text(source)}</{tag}>' + "\n" * block
    formula = tostring(tree, encoding="unicode", short_empty_elements=False)
    return f'<div class="math">{formula}</div>\n' if block else formula


def _convert(source: str, block: bool) -> Element | None:  # noqa: FBT001
    from latex2mathml.converter import convert_to_element

    try:
        tree = convert_to_element(source, display="block" if block else "inline")
    except Exception:  # noqa: BLE001  # the converter fails with many types on what it cannot read
        return None
    for element in tree.iter():
        if not _ELEMENTS.fullmatch(element.tag):
            return None
        # The converter writes character references, to be resolved after serialization, also of what it was given.
        element.text = sanitize(html.unescape(element.text or ""))
        element.tail = None
        for name in set(element.attrib) - _ATTRIBUTES:
            del element.attrib[name]
    tree.set("alttext", source)
    return tree
