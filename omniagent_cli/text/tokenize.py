"""Words for search: one tokenizer that every backend shares."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from omniagent_cli.text.sanitize import is_mark

# One word per character: scripts written without spaces between words.
# Han (with extensions and compatibility forms), kana, Thai, Lao, Myanmar, Khmer.
_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"
)


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    # Compiled on first use: it takes milliseconds, which commands without a search avoid.
    return re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+")


@lru_cache(maxsize=1)
def _single_word() -> re.Pattern[str]:
    return re.compile(rf"[{_SINGLE}]")


def _without_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not is_mark(c))


def fold(text: str) -> str:
    """Return the form in which words are compared: NFD, marks removed, case folded."""
    if text.isascii():
        return text.lower()
    return _without_marks(_without_marks(text).casefold())


def words(text: str) -> list[str]:
    """Return the words of a text, as search compares them.

    NFD, marks removed, case folded; runs of letters and digits are words, and each Han, kana, Thai,
    Lao, Khmer or Myanmar character is a word. This rule defines search on every backend.
    """
    return [word for word in _word().findall(fold(text)) if word.isalnum()]


def index_text(text: str) -> str:
    """Return text from which a tokenizer that splits at ASCII non-alphanumerics gets exactly `words`."""
    if text.isascii() and "\x00" not in text:
        return text.lower()
    return " ".join(words(text))


def is_single_character_word(word: str) -> bool:
    """Return True for a word that is one character of a script written without spaces."""
    return len(word) == 1 and _single_word().match(word) is not None


def words_with_spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the words of `words`, each with its start and end in the original text."""
    if text.isascii():
        for match in _word().finditer(text.lower()):
            yield match.group(), match.start(), match.end()
        return
    folded: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        for piece in fold(character):
            folded.append(piece)
            origin.append(index)
    for match in _word().finditer("".join(folded)):
        if match.group().isalnum():
            yield match.group(), origin[match.start()], origin[match.end() - 1] + 1
