"""Words for search: one tokenizer that every backend shares."""

from __future__ import annotations

import codecs
import re
import unicodedata
from functools import lru_cache

# One word per character: scripts written without spaces between words.
# Han (with extensions and compatibility forms), kana, Thai, Lao, Myanmar, Khmer.
_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"
)


_ASCII = bytes(range(0x80))
_ALPHABET = 0x80
"""Number of other characters in a code page of `_by_code_page`."""

_CHUNK = 1 << 16


def fold(text: str) -> str:
    """Return the form in which words are compared: NFD, marks removed, case folded."""
    if text.isascii():
        return text.lower()
    return _without_marks(_without_marks(text).casefold())


def _without_marks(text: str) -> str:
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(c for c in decomposed if unicodedata.category(c)[0] != "M")


class _Forms(dict[int, str]):
    """Index forms by character: folded letters and digits, a space for all others.

    Folding treats each character by itself: NFD only reorders marks, which are removed.
    """

    def __missing__(self, code: int) -> str:
        form = "".join(map(_form, fold(chr(code))))
        if unicodedata.category(chr(code)) not in ("Cn", "Co"):  # a million of these exist
            self[code] = form
        return form


def _form(character: str) -> str:
    if not character.isalnum():
        return " "
    return f" {character} " if is_single_character_word(character) else character


_forms = _Forms()


def index_text(text: str) -> str:
    """Return the words of a text, separated by spaces, as search compares them.

    NFD, marks removed, case folded; runs of letters and digits are words, and each Han, kana, Thai,
    Lao, Khmer or Myanmar character is a word. This rule defines search on every backend.
    """
    if text.isascii():
        return text.translate(_forms)
    data = text.encode("utf-8", "surrogatepass").translate(None, _ASCII)
    others = data.decode("utf-8", "surrogatepass")
    if len(others) * 4 < len(text):
        alphabet = set(others)
        if len(alphabet) <= _ALPHABET and "\ufffe" not in alphabet:  # codecs reserve this one
            return _by_code_page(text, "".join(alphabet))
    return text.translate(_forms)


def _by_code_page(text: str, alphabet: str) -> str:
    """Return the index form of text with few characters besides ASCII, several times as fast as `str.translate`."""
    page = _ASCII.decode() + alphabet
    encoded, _ = codecs.charmap_encode(text, "strict", codecs.charmap_build(page))
    forms = {character: _forms[ord(character)] for character in page}
    # A character with a form of another length stays itself, which no other form contains.
    table = "".join(form if len(form) == 1 else character for character, form in forms.items())
    folded, _ = codecs.charmap_decode(encoded, "strict", table)
    for character, form in forms.items():
        if len(form) != 1:
            folded = folded.replace(character, form)
    return folded


def words(text: str) -> list[str]:
    """Return the words of `index_text`."""
    return index_text(text).split()


@lru_cache(maxsize=1)
def _single_word() -> re.Pattern[str]:
    # Compiled on first use: it takes milliseconds, which commands without a search avoid.
    return re.compile(rf"[{_SINGLE}]")


def is_single_character_word(word: str) -> bool:
    """Return True for a word that is one character of a script written without spaces."""
    return len(word) == 1 and _single_word().match(word) is not None


def original_span(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the range of a text whose index form has a word or phrase from `start` to `end`."""
    if text.isascii():
        return start, end
    first = offset = 0
    while offset + (size := len(index_text(text[first : first + _CHUNK]))) <= start:
        first, offset = first + _CHUNK, offset + size
    last = first
    while offset < end:
        offset += len(_forms[ord(text[last])])
        last += 1
        if offset <= start:
            first = last
    return first, last
