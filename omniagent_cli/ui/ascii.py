"""ASCII replacements for drawn characters, for terminals that display nothing else."""

from __future__ import annotations

from collections.abc import Mapping

# One character each, so the layout does not change. Besides drawn characters, the punctuation that models
# write; other text keeps its characters, or their escapes when the encoding lacks them.
_REPLACEMENTS = {
    "…": "~", "·": "-", "→": ">", "←": "<", "•": "*", "─": "-", "│": "|", "▌": "|", "✓": "+", "✗": "x",
    "└": "`", "├": "|", "░": ".", "▒": ":", "▓": "+", "█": "#",
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u00a0": " ",
}  # fmt: skip
_PLAIN = str.maketrans(_REPLACEMENTS)


def to_ascii(text: str) -> str:
    """Return text with drawn characters replaced by ASCII."""
    return text if text.isascii() else text.translate(_PLAIN)


def wants_ascii(environ: Mapping[str, str]) -> bool:
    """Return True if the user's locale is C or POSIX, even if Python overrides it."""
    if chosen := environ.get("LC_ALL"):
        return chosen in ("C", "POSIX")
    plain = environ.get("LANG") in ("C", "POSIX")
    # Python itself sets LC_CTYPE to this when the locale is C (PEP 538).
    return environ.get("LC_CTYPE") in ("C", "POSIX") or (
        plain and environ.get("LC_CTYPE", "C.UTF-8") in ("C.UTF-8", "C.utf8", "UTF-8", "")
    )
