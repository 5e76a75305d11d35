"""What is indexed of a message on PostgreSQL: the words we prepared, cut to what a `tsvector` can hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

WORD_LENGTH = 64
"""Longer words are indexed and asked for by their beginning; at most 256 bytes, where 2046 are allowed."""

ALL_WORDS = 500_000
"""Bytes of all words of a message; a tsvector holds 1 MB. More is not indexed but read by every search."""

ASKED_WORDS = 40
"""How many words of a query the index is asked for; the longest ones. `search.matches` knows the rest."""

# `text.index_text` is made for tokenizers that split at ASCII non-alphanumerics.
_WORD = re.compile(r"[^\x00-/:-@\[-`{-\x7f]+")


def index_words(text: str | None) -> str | None:
    """Return the different words of a prepared text between blanks, or None for not in the index."""
    if text is None:
        return None
    words = " ".join({word[:WORD_LENGTH] for word in _WORD.findall(text)})
    if len(words) > ALL_WORDS // 4 and len(words.encode()) > ALL_WORDS:
        return None
    return words


def as_tsquery(phrases: Sequence[tuple[tuple[str, ...], bool]]) -> str:
    """Return a `tsquery` that every message with these phrases fits, made of quoted lexemes alone."""
    asked: set[tuple[str, bool]] = set()
    for words, prefix in phrases:
        asked.update((word[:WORD_LENGTH], False) for word in words[: len(words) - prefix])
        asked.update((word[:WORD_LENGTH], True) for word in words[len(words) - prefix :])
    longest = sorted(asked, key=lambda word: (-len(word[0]), word))[:ASKED_WORDS]
    return " & ".join(_lexemes(longest))


def _lexemes(words: Iterable[tuple[str, bool]]) -> Iterable[str]:
    for word, prefix in words:
        escaped = word.replace("\\", "\\\\").replace("'", "''")
        yield f"'{escaped}'{':*' if prefix else ''}"
