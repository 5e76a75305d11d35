"""Full-text index of PostgreSQL: prepared words, limited to the size of a `tsvector`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

WORD_LENGTH = 64
"""Length to which longer words are shortened in the index and in queries; at most 256 bytes, where 2046 are allowed."""

ALL_WORDS = 500_000
"""Bytes of all words of a message; a tsvector holds 1 MB. Longer messages are not indexed but read by every search."""

MAX_QUERY_WORDS = 40
"""Number of words of a query that the index looks up, the longest ones; `query.matches` checks the rest."""

# `index_text` is designed for tokenizers that split at ASCII non-alphanumerics.
_WORD = re.compile(r"[^\x00-/:-@\[-`{-\x7f]+")


def index_words(text: str | None) -> str | None:
    """Return the distinct words of a prepared text, separated by spaces, or None to leave it out of the index."""
    if text is None:
        return None
    words = " ".join({word[:WORD_LENGTH] for word in _WORD.findall(text)})
    if len(words) > ALL_WORDS // 4 and len(words.encode()) > ALL_WORDS:
        return None
    return words


def as_tsquery(phrases: Sequence[tuple[tuple[str, ...], bool]]) -> str:
    """Return a `tsquery` of quoted lexemes that every message with these phrases matches."""
    terms: set[tuple[str, bool]] = set()
    for words, prefix in phrases:
        terms.update((word[:WORD_LENGTH], False) for word in words[: len(words) - prefix])
        terms.update((word[:WORD_LENGTH], True) for word in words[len(words) - prefix :])
    longest = sorted(terms, key=lambda word: (-len(word[0]), word))[:MAX_QUERY_WORDS]
    return " & ".join(_lexemes(longest))


def _lexemes(words: Iterable[tuple[str, bool]]) -> Iterable[str]:
    for word, prefix in words:
        escaped = word.replace("\\", "\\\\").replace("'", "''")
        yield f"'{escaped}'{':*' if prefix else ''}"
