"""Search queries: the syntax and the match that all backends share.

A query consists of words, all of which must occur in a message. ``"a phrase"`` matches consecutive words, ``pre*`` the
start of a word. Case and accents are ignored. Each character of a script without spaces is a word, so a run of them is
a phrase. Every text is a valid query.
"""

from __future__ import annotations

import re
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
        match: start and end of that match in the snippet.
    """

    session_id: str
    title: str
    message_id: str
    position: int
    role: str
    created_at: datetime
    snippet: str
    match: tuple[int, int]


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


def snippet(query: Query, text: str) -> tuple[str, tuple[int, int]]:
    """Return the text around the first match on one line, and the range of the match in it."""
    place = _first_match(query, text)
    if place is None:
        return " ".join(text[:SNIPPET_LENGTH].split()), (0, 0)
    start, end = place
    left = max(0, start - SNIPPET_LENGTH // 3)
    if left:
        left = text.find(" ", left, start) + 1 or left
    before = " ".join(text[left:start].split())
    if before and text[start - 1].isspace():
        before += " "
    hit = " ".join(text[start:end].split())
    room = max(20, SNIPPET_LENGTH - len(before) - len(hit))
    tail = text[end : end + room]
    after = " ".join(tail.split())
    if after and tail[0].isspace():
        after = " " + after
    head = "…" if left else ""
    foot = "…" if end + room < len(text) else ""
    at = len(head) + len(before)
    return f"{head}{before}{hit}{after}{foot}", (at, at + len(hit))


def _first_match(query: Query, text: str) -> tuple[int, int] | None:
    """Return the range of the first match of any term."""
    indexed = index_text(text)
    found = [match.span() for pattern in _patterns(query) if (match := pattern.search(indexed))]
    return original_span(text, *min(found)) if found else None
