"""Full-text index of PostgreSQL: prepared words, limited to the size of a `tsvector`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from omniagent_cli.text.tokenize import words

WORD_LENGTH = 64
"""Length to which longer words are shortened in the index and in queries; at most 256 bytes, where 2046 are allowed."""

ALL_WORDS = 500_000
"""Bytes of all words of a message; a tsvector holds 1 MB. Longer messages are not indexed but read by every search."""

MAX_QUERY_WORDS = 40
"""Number of words of a query that the index looks up, the longest ones; `query.matches` checks the rest."""


def index_words(text: str) -> str | None:
    """Return the distinct words of a text, separated by spaces, or None to leave it out of the index."""
    found = " ".join({word[:WORD_LENGTH] for word in words(text)})
    if len(found) > ALL_WORDS // 4 and len(found.encode()) > ALL_WORDS:
        return None
    return found


def as_tsquery(phrases: Sequence[tuple[tuple[str, ...], bool]]) -> str:
    """Return a `tsquery` of quoted lexemes that every message with these phrases matches."""
    terms: set[tuple[str, bool]] = set()
    for phrase, prefix in phrases:
        terms.update((word[:WORD_LENGTH], False) for word in phrase[: len(phrase) - prefix])
        terms.update((word[:WORD_LENGTH], True) for word in phrase[len(phrase) - prefix :])
    longest = sorted(terms, key=lambda word: (-len(word[0]), word))[:MAX_QUERY_WORDS]
    return " & ".join(_lexemes(longest))


def _lexemes(words: Iterable[tuple[str, bool]]) -> Iterable[str]:
    for word, prefix in words:
        escaped = word.replace("\\", "\\\\").replace("'", "''")
        yield f"'{escaped}'{':*' if prefix else ''}"
