"""The definition of search: one rule, however it is carried out."""

from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.stores.query import matches, parse, snippet

TEXT = st.text(alphabet='abAB12_- .*"', max_size=24)


@given(TEXT, TEXT)
def test_plain_text_is_searched_like_any_other(query, text):
    """What is found in ASCII text is what is found when one other character takes the slow way."""
    asked = parse(query)
    assert matches(asked, text) == matches(asked, text + " é")


@given(TEXT, TEXT)
def test_snippet_marks_the_matches(query, text):
    """The ranges of a snippet lie inside it in order, and there is one whenever the query matches."""
    parsed = parse(query)
    shown, ranges = snippet(parsed, text)
    edges = [edge for pair in ranges for edge in pair]
    assert edges == sorted(edges)
    assert all(0 <= start < end <= len(shown) for start, end in ranges)
    assert ranges or not matches(parsed, text)


def test_words_phrases_and_prefixes():
    """Every word must occur, in any order; a phrase in a row; a prefix begins a word."""
    text = "The quick_brown fox-trot, 42nd street"
    assert all(
        matches(parse(q), text) for q in ("fox quick", '"quick brown"', "str*", "FOX-TROT", "42nd")
    )
    assert not any(
        matches(parse(q), text) for q in ("quick cat", '"brown quick"', "reet*", "42", "", "*", '"')
    )
