"""Untrusted text: words for search, forms that cannot drive a terminal, safe cuts, redaction.

Titles, ids, messages and tool output come from people, models and imported files. Stored text stays as
it was; these functions make the copies that are searched or shown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

# One word per character: scripts written without spaces between words.
# Han (with extensions and compatibility forms), kana, Thai, Lao, Myanmar, Khmer.
_SINGLE = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u19e0-\u19ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaa7f\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f\U00020000-\U000323af"
)


@lru_cache(maxsize=1)
def _word() -> re.Pattern[str]:
    # Compiled on first use: it takes milliseconds, which a command that searches nothing must not pay.
    return re.compile(rf"[{_SINGLE}]|[^\W_{_SINGLE}]+")


@lru_cache(maxsize=1)
def _single_word() -> re.Pattern[str]:
    return re.compile(rf"[{_SINGLE}]")


@lru_cache(maxsize=4096)
def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


def _without_marks(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not _is_mark(c))


def fold(text: str) -> str:
    """Return the form in which words are compared: NFD, marks dropped, case folded."""
    if text.isascii():
        return text.lower()
    return _without_marks(_without_marks(text).casefold())


def words(text: str) -> list[str]:
    """Split text into the words that search compares.

    NFD, marks dropped, case folded; runs of letters and digits are words, and each Han, kana, Thai,
    Lao, Khmer or Myanmar character is a word by itself. This one rule defines search on every backend.
    """
    return [word for word in _word().findall(fold(text)) if word.isalnum()]


def index_text(text: str) -> str:
    """Return text in which a tokenizer that splits at ASCII non-alphanumerics finds exactly `words`."""
    if text.isascii() and "\x00" not in text:
        return text.lower()
    return " ".join(words(text))


def is_single_character_word(word: str) -> bool:
    """Tell whether a word is one character of a script written without spaces."""
    return len(word) == 1 and _single_word().match(word) is not None


def words_with_spans(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the same words as `words`, each with its start and end in the text as given."""
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


# C0 and C1 controls except tab and newline, DEL, line and paragraph separators, and every character that
# changes the direction of what follows. https://www.unicode.org/reports/tr9/ lists the last group.
_UNSAFE = dict.fromkeys(
    (
        *range(0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F,
        *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF, *range(0xFFF9, 0xFFFC),
    ),
    0xFFFD,
)  # fmt: skip
_UNSAFE_ASCII = bytes(code for code in _UNSAFE if code < 0x80)
_ESCAPED = {code: f"\\u{code:04x}" for code in _UNSAFE}
_ONE_LINE = {**_UNSAFE, 0x09: 0x20, 0x0A: 0x20, 0x2028: 0x20, 0x2029: 0x20}


def is_storable(text: str) -> bool:
    """Tell whether any backend can hold a text in a column of its own: no NUL, no half characters."""
    if "\x00" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


@lru_cache(maxsize=1)
def _unsafe() -> re.Pattern[str]:
    return re.compile(f"[{re.escape(''.join(map(chr, _UNSAFE)))}]")


def visible(text: str) -> str:
    """Return text that cannot drive a terminal; newlines and tabs stay, the rest becomes U+FFFD.

    Exports call it for every message: `str.translate` alone takes three times as long for plain ASCII, and twelve
    times as long for what is not.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        return _unsafe().sub("\ufffd", _encodable(text))
    data = text.encode()
    harmless = len(data.translate(None, _UNSAFE_ASCII)) == len(data)
    return text if harmless else text.translate(_UNSAFE)


def one_line(text: str) -> str:
    """Return `visible` text on one line, for ids, titles and table cells."""
    return _encodable(text.replace("\r\n", "\n").replace("\r", "\n")).translate(_ONE_LINE)


def plain_field(text: str) -> str:
    r"""Return text for a tab-separated field: what would break the line is written as an escape, uncut.

    Backslash, tab, newline and unsafe characters become ``\\``, ``\t``, ``\n`` and ``\uXXXX``.
    """
    if "\\" not in text and text.isprintable():
        return text  # what is unsafe is not printable either
    escaped = (
        text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    )
    return escaped.encode("utf-8", "backslashreplace").decode("utf-8").translate(_ESCAPED)


def cut(text: str, length: int) -> str:
    """Return at most `length` characters, ending in an ellipsis when cut, never inside a combined character."""
    if len(text) <= length:
        return text
    end = max(0, length - 1)
    while end and (
        _is_mark(text[end])
        or "\u200d" in text[end - 1 : end + 1]
        or 0x1F3FB <= ord(text[end]) <= 0x1F3FF
    ):
        end -= 1
    return text[:end].rstrip() + "…"


def first_line(text: str, length: int) -> str:
    """Return the first line with something on it, blanks folded, cut to `length` characters."""
    for line in text[: length * 20].splitlines():
        if folded := " ".join(line[: length * 2].split()):
            return cut(folded, length)
    return ""


# What `--redact` looks for, published so that a reader can judge it. Best effort: a secret that looks like
# ordinary text is not found. Prefixes are the providers' documented ones.
REDACTIONS: tuple[tuple[str, str], ...] = (
    (
        "private-key",
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    ),
    ("openai-key", r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}"),
    ("anthropic-key", r"\bsk-ant-[A-Za-z0-9_-]{20,}"),
    ("aws-access-key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    ("google-key", r"\bAIza[A-Za-z0-9_-]{35}"),
    ("github-token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,})"),
    ("gitlab-token", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    ("slack-token", r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    ("stripe-key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    ("hugging-face-token", r"\bhf_[A-Za-z0-9]{30,}"),
    ("npm-token", r"\bnpm_[A-Za-z0-9]{36}"),
    ("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    ("bearer", r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}=*"),
    ("url-password", r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)"),
    (
        "password",
        r"(?i)\b(?:password|passwd|pwd|secret|api[_-]?key|access[_-]?token|auth[_-]?token)\b[\"']?\s*[:=]\s*[\"']?[^\s\"',;]{4,}",
    ),
)


@lru_cache(maxsize=1)
def _redaction_patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((name, re.compile(pattern, re.DOTALL)) for name, pattern in REDACTIONS)


def redact(text: str, counts: dict[str, int]) -> str:
    """Replace what looks like a secret by ``[redacted: kind]`` and add to the counts of each kind."""
    for name, pattern in _redaction_patterns():
        text, found = pattern.subn(f"[redacted: {name}]", text)
        if found:
            counts[name] = counts.get(name, 0) + found
    return text
