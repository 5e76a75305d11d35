"""Untrusted text: search words, display forms and redaction."""

import re
import sqlite3
import unicodedata
from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from omniagent_cli.stores import query as search
from omniagent_cli.text.redact import redact
from omniagent_cli.text.sanitize import cut, first_line, is_storable, one_line, plain_field, visible
from omniagent_cli.text.tokenize import (
    fold,
    index_text,
    is_single_character_word,
    original_span,
    words,
)

ANY = st.text(st.characters(exclude_categories=()), max_size=60)
ODD = st.text(
    st.sampled_from(
        "aAzÄäßéİ\u0131\u017fﬁ½²①Ⅷ_-'.\u0301\u0345\u200d\u0e01\u0e31天気かゝ가힣\u1100ー\U0001d538𠀀😀\ud800\x00 \n*\""
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def tokens():
    """Return the tokens of SQLite's ascii tokenizer."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='ascii')")
        connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")

        def look(text):
            connection.execute("DELETE FROM t")
            connection.execute("INSERT INTO t VALUES (?)", (text,))
            return [row[0] for row in connection.execute("SELECT term FROM v ORDER BY offset")]

        yield look


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Quick-brown fox_1!", ["the", "quick", "brown", "fox", "1"]),
        ("Ärger Straße", ["arger", "strasse"]),
        ("e\u0301té", ["ete"]),
        ("İstanbul ﬁne", ["istanbul", "fine"]),
        ("今日は", ["今", "日", "は"]),
        ("中文test混合", ["中", "文", "test", "混", "合"]),
        ("한국어", [unicodedata.normalize("NFD", "한국어")]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("😀 ... __", []),
        ("\ud800a\x00b", ["a", "b"]),
        ("x²", ["x²"]),
    ],
)
def test_what_a_word_is(text, expected):
    """Runs of letters and digits are words, folded; characters of scripts without spaces are words of their own."""
    assert words(text) == expected


@given(ANY | ODD)
@example("ŉ")
@example("\u0345a")
@example("A\u0300")
def test_the_index_holds_exactly_the_words(tokens, text):
    """SQLite's tokenizer finds exactly our words in the indexed text."""
    assert tokens(index_text(text)) == words(text)


@given(ANY | ODD)
def test_indexed_text_can_be_stored(text):
    """Indexed text can be stored in any database."""
    index_text(text).encode("utf-8")


def definition(text):
    """Return the words of a text by the definition of search, one character at a time."""
    for _ in range(2):
        plain = unicodedata.normalize("NFD", text)
        text = "".join(c for c in plain if not unicodedata.category(c).startswith("M")).casefold()
    text = unicodedata.normalize("NFD", text)
    text = "".join(c for c in text if not unicodedata.category(c).startswith("M"))
    single = "".join(f" {c} " if is_single_character_word(c) else c for c in text)
    return "".join(c if c.isalnum() else " " for c in single).split()


@given(ANY | ODD | st.text("aZ e\u0301éİßﬁł\u0130今ー ", min_size=40))
@example("Zażółć gęślą jaźń, Straße 5: " * 5 + "\ufffe\ud800")
def test_words_follow_the_definition(text):
    """The tables that make folding fast give the words of the definition."""
    assert words(text) == definition(text)


def test_every_character_follows_the_definition():
    """All of Unicode folds by the table as by the definition, alone and amid ASCII."""
    assigned = "".join(
        map(chr, (*range(0x20000), *range(0x2F800, 0x2FA20), *range(0xE0000, 0xE0200)))
    )
    assert words(assigned) == definition(assigned)
    plain = "Some plain text, long enough. " * 20
    for start in range(0x80, len(assigned), 0x80):
        block = assigned[start : start + 0x80]
        assert words(plain + block) == words(plain) + words(block)


@given(ANY | ODD)
def test_spans_agree_with_words(text):
    """Each word of the indexed text belongs to a range of the text that folds to it, in order."""
    ends = [0]
    for match in re.finditer("[^ ]+", index_text(text)):
        start, end = original_span(text, *match.span())
        assert 0 <= start < end <= len(text)
        assert match.group() in index_text(text[start:end])
        assert (
            start >= ends[-1] - 1
        )  # one character may fold into the end of one word and the start of the next
        ends.append(end)


def test_a_span_far_into_a_text():
    """The range of a word after long text of other scripts is exact."""
    text = "日本 ß" * 50_000 + "Źdźbło trawy"
    indexed = index_text(text)
    start = indexed.index("zdzbło trawy")
    first, last = original_span(text, start, len(indexed))
    assert text[first:last] == "Źdźbło trawy"


@given(ANY | ODD)
def test_folding_is_final(text):
    """Folding is idempotent and independent of the normal form."""
    once = fold(text)
    assert fold(once) == once
    assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))


@given(ANY | ODD, ANY | ODD)
def test_a_text_contains_its_own_words(text, query):
    """Every text is found by its own words, any query can be parsed, and a snippet marks the match."""
    found = words(text)
    parsed = search.parse(query)
    search.matches(parsed, text)
    search.snippet(parsed, text)
    if found:
        phrase = search.parse('"' + " ".join(found[:5]) + '"')
        assert search.matches(phrase, text)
        snippet, ((start, end), *_) = search.snippet(phrase, text)
        assert 0 <= start < end <= len(snippet)
        assert "\n" not in snippet
    else:
        assert search.parse(text).terms == ()


BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}


def unsafe(text, allowed):
    return [
        c
        for c in text
        if c not in allowed
        and (unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or ord(c) in BIDI)
    ]


@given(ANY)
@example("\x1b]0;evil\x07 \x9b31m \u202egpj.exe \r\n \ud800 \u2028 \x7f")
def test_nothing_visible_drives_a_terminal(text):
    """Control characters, bidi marks and lone surrogates are removed; newlines are kept by `visible` only."""
    assert unsafe(visible(text), "\n\t") == []
    assert unsafe(one_line(text), "") == []
    assert unsafe(plain_field(text), "") == []
    for shown in (visible(text), one_line(text), plain_field(text)):
        shown.encode("utf-8")


@given(
    st.text(
        st.characters(categories=["L", "N", "P", "S", "M", "Zs"], exclude_characters="\ufeff"),
        max_size=40,
    )
)
def test_harmless_text_stays_as_it_is(text):
    """Text without control characters is unchanged."""
    assert visible(text) == one_line(text) == text


@given(ANY)
def test_a_field_can_be_read_back(text):
    """Escaping of fields is lossless except for the kind of line break."""
    assert "\t" not in plain_field(text)
    assert "\n" not in plain_field(text)
    assert (plain_field(text) == text) == (
        "\\" not in text and unsafe(text, "") == [] and plain_field(text) == text
    )


@given(ANY | ODD, st.integers(1, 20))
@example("e\u0301" * 5, 4)
@example("👩\u200d👩\u200d👧", 3)
@example("👍🏽👍🏽", 2)
def test_cut_is_short_and_clean(text, length):
    """A shortened text respects the limit, ends with an ellipsis, and splits no combined character."""
    short = cut(text, length)
    if len(text) <= length:
        assert short == text
        return
    assert len(short) <= length
    assert short.endswith("…")
    kept = short[:-1]
    assert text.startswith(kept)
    rest = text[len(kept) :].lstrip()
    assert (
        kept == ""
        or rest == ""
        or not unicodedata.category(rest[0]).startswith("M")
        or rest != text[len(kept) :]
    )


def test_first_line():
    """The first non-blank line is returned with white space collapsed."""
    assert first_line("\n \t\n  one \t two  \nthree", 80) == "one two"
    assert first_line("", 80) == first_line(" \n ", 80) == ""
    assert first_line("word " * 100, 20) == "word word word word…"


@pytest.mark.parametrize(
    ("text", "ok"),
    [("", True), ("Ärger 😀", True), ("a\x00", False), ("\ud800", False), ("\x1b", True)],
)
def test_what_a_column_can_hold(text, ok):
    """NUL and lone surrogates are not storable."""
    assert is_storable(text) is ok


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("key sk-proj-abcdefghijklmnopqrstuvwx end", "openai-key"),
        ("AKIAABCDEFGHIJKLMNOP", "aws-access-key"),
        ("ghp_" + "a" * 36, "github-token"),
        ("Authorization: Bearer abcdefghijklmnop1234", "bearer"),
        ("postgresql://me:hunter2@host/db", "url-password"),
        ("password = hunter22", "password"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", "private-key"),
    ],
)
def test_secrets_are_masked_and_counted(text, kind):
    """Likely secrets are replaced by their kind and counted."""
    counts = {}
    masked = redact(text, counts)
    assert f"[redacted: {kind}]" in masked
    assert counts[kind] == 1
    assert redact("an ordinary sentence about keys", counts) == "an ordinary sentence about keys"
