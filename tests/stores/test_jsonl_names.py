"""File names of the JSON-file store."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.stores.backends.jsonl.names import file_name

IDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=512).filter(
    lambda text: not text.isspace() and len(text.encode()) <= 512
)
TRICKY = st.text("aA%+~-.c/onCON1 lptLPT", min_size=1, max_size=9).filter(lambda text: text.strip())


@given(IDS | TRICKY, IDS | TRICKY)
def test_distinct_ids_have_distinct_names(one, other):
    """Two ids are two files, also on a disk that ignores case."""
    assert (file_name(one).casefold() == file_name(other).casefold()) == (one == other)


@given(IDS | TRICKY)
def test_names_are_safe_everywhere(session_id):
    """A name is short ASCII without capitals, blanks, separators or a leading dot or dash."""
    name = file_name(session_id)
    assert name.isascii()
    assert name.endswith(".jsonl")
    assert len(name) <= 200
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.%+~")
    assert name[0] not in ".-~"


@pytest.mark.parametrize(
    ("session_id", "name"),
    [
        ("user-123", "user-123.jsonl"),
        ("20261121-093000-k7q", "20261121-093000-k7q.jsonl"),
        ("telegram:123", "telegram%3a123.jsonl"),
        ("a/b", "a%2fb.jsonl"),
        ("..", "%2e..jsonl"),
        ("-rf", "%2drf.jsonl"),
        ("CON", "+c+o+n.jsonl"),
        ("con", "%63on.jsonl"),
        ("nul.txt", "%6eul.txt.jsonl"),
        ("lpt1", "%6cpt1.jsonl"),
        ("console", "console.jsonl"),
        ("Ann", "+ann.jsonl"),
        ("Ärger 😀", "%c3%84rger%20%f0%9f%98%80.jsonl"),
        ("a+b%c~d", "a%2bb%25c%7ed.jsonl"),
        ("x" * 194, "x" * 194 + ".jsonl"),
    ],
)
def test_readable_names(session_id, name):
    """Plain ids read as themselves, and names are these for ever."""
    assert file_name(session_id) == name


def test_long_names_end_in_a_hash():
    """An id too long for a name is cut, and a hash tells it from others that begin the same."""
    one, other = file_name("x" * 511 + "1"), file_name("x" * 511 + "2")
    assert one[:121] == other[:121] == "x" * 120 + "~"
    assert one != other
    assert len(one) == 120 + 1 + 40 + len(".jsonl")
