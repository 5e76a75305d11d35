"""Search queries: the syntax and the match that all backends share.

A query consists of words, all of which must occur in a message. ``"a phrase"`` matches consecutive words, ``pre*`` the
start of a word. Case and accents are ignored. Each character of a script without spaces is a word, so a run of them is
a phrase. Every text is a valid query.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import pairwise

from omniagent_cli.text.tokenize import (
    index_text,
    is_single_character_word,
    original_span,
    words,
)

_TOKEN = re.compile(r'"([^"]*)"?|(\S+)')
SNIPPET_LENGTH = 160
_MARGIN = 64
"""Characters around a snippet that decide if a word at its edge is whole."""

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Term:
    """Consecutive words; with `prefix`, the last one is the start of a word."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed query; without terms it matches nothing."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class SearchHit:
    """One message that matches.

    Attributes:
        position: the position of the message in its session.
        snippet: the text around the first match, on one line.
        matches: start and end of each match in the snippet, in order.
    """

    session_id: str
    title: str
    message_id: str
    position: int
    role: str
    created_at: datetime
    snippet: str
    matches: tuple[Range, ...]


class SearchHits(list[SearchHit]):
    """Hits, newest first.

    Attributes:
        complete: False if the limit was reached and there may be more.
        scanned: number of messages read without an index; 0 with an index.
    """

    complete: bool = True
    scanned: int = 0


def parse(query: str) -> Query:
    """Parse a query; every text is valid."""
    terms: list[Term] = []
    for phrase, token in _TOKEN.findall(query):
        if phrase:
            if found := words(phrase):
                terms.append(Term(tuple(found)))
        elif token:
            terms.extend(_terms_of_token(token))
    return Query(tuple(terms))


def _terms_of_token(token: str) -> list[Term]:
    """Split an unquoted token: ``user-123`` is two words, a run of Han characters is one phrase."""
    found = words(token)
    if not found:
        return []
    groups = [[found[0]]]
    for before, word in pairwise(found):
        if is_single_character_word(before) and is_single_character_word(word):
            groups[-1].append(word)
        else:
            groups.append([word])
    last = len(groups) - 1
    return [
        Term(tuple(group), prefix=token.endswith("*") and i == last)
        for i, group in enumerate(groups)
    ]


def matches(query: Query, text: str) -> bool:
    """Return True if every term occurs in a text."""
    indexed = index_text(text)
    return bool(query.terms) and all(pattern.search(indexed) for pattern in _patterns(query))


@lru_cache(maxsize=64)
def _patterns(query: Query) -> tuple[re.Pattern[str], ...]:
    """Return patterns of the terms for indexed text, in which only spaces separate words."""
    return tuple(
        re.compile(f"(?<![^ ]){' +'.join(term.words)}{'[^ ]*' if term.prefix else '(?![^ ])'}")
        for term in query.terms
    )


def snippet(query: Query, text: str) -> tuple[str, tuple[Range, ...]]:
    """Return the text around the first match on one line, and the ranges of all matches in it."""
    place = _first_match(query, text)
    if place is None:
        return _one_line(text[:SNIPPET_LENGTH]), ()
    start, end = place
    left = max(0, start - SNIPPET_LENGTH // 3)
    if left:
        left = text.find(" ", left, start) + 1 or left
    right = end + max(20, SNIPPET_LENGTH - len(_one_line(text[left:end])))
    head = "…" if left else ""
    foot = "…" if right < len(text) else ""

    def column(offset: int) -> int:
        return len(head) + len(_one_line(text[left:offset]))

    ranges = [
        (column(first + 1) - 1, column(min(last, right)))
        for first, last in _merged([place, *_matches_in(query, text, left, right)])
    ]
    return f"{head}{_one_line(text[left:right])}{foot}", tuple(ranges)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _matches_in(query: Query, text: str, left: int, right: int) -> Iterator[Range]:
    """Yield the ranges of all matches that begin in a part of a text."""
    offset = max(0, left - _MARGIN)
    part = text[offset : right + _MARGIN]
    indexed = index_text(part)
    for pattern in _patterns(query):
        for match in pattern.finditer(indexed):
            first, last = (offset + at for at in original_span(part, *match.span()))
            if left <= first < right:
                yield first, last


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """Return the union of ranges, in order."""
    merged: list[Range] = []
    for first, last in sorted(ranges):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return merged


def _first_match(query: Query, text: str) -> Range | None:
    """Return the range of the first match of any term."""
    indexed = index_text(text)
    found = [match.span() for pattern in _patterns(query) if (match := pattern.search(indexed))]
    return original_span(text, *min(found)) if found else None
