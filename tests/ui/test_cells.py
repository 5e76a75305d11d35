"""Text widths, shortening, tables and JSON for any terminal."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from omniagent_cli.ui.activity_map import activity_rows
from omniagent_cli.ui.cells import Column, Table, cell_width, cut_cells, drop_columns, fit_widths
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.views import counted


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("abc", 3),
        ("", 0),
        ("漢字", 4),
        ("e\u0301", 1),
        ("👩\u200d💻", 4),
        ("ｱ", 1),
        ("—", 1),
        ("x\ufe0f", 1),
    ],
)
def test_width_in_cells(text, width):
    """Wide characters count twice, combining marks and joiners not at all."""
    assert cell_width(text) == width


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("abcdef", 6, "abcdef"), ("abcdef", 5, "abcd…"), ("漢字漢字", 5, "漢字…"), ("漢字漢字", 4, "漢…"),
        ("ab cdef", 4, "ab…"), ("cafe\u0301 au lait", 5, "cafe\u0301…"), ("abc", 1, "…"), ("👩\u200d💻abc", 4, "…"),
    ],
)  # fmt: skip
def test_cuts_fit_and_break_no_character(text, width, cut):
    """A shortened text fits its width and splits no combined character."""
    assert cut_cells(text, width) == cut
    assert cell_width(cut) <= width


def test_only_columns_that_may_shrink_do():
    """A table that is too wide shrinks its last shrinkable column first, and never numbers."""
    columns = [Column("ID", shrink=True), Column("TITLE", shrink=True), Column("N", right=True)]
    table = Table(columns, [["i" * 20, "t" * 50, "1,000,000"]])
    assert fit_widths(table, 200) == [20, 50, 9]
    assert fit_widths(table, 60) == [20, 27, 9]
    assert fit_widths(table, 40) == [15, 12, 9]
    assert fit_widths(table, 5) == [12, 12, 9]


def test_a_narrow_terminal_shows_fewer_columns():
    """Columns that still do not fit are dropped from the end, never rows."""
    columns = [Column("ID", shrink=True), Column("TITLE", shrink=True), Column("N"), Column("WHEN")]
    table = Table(columns, [["i" * 20, "t" * 50, "12", "two minutes ago"]])
    assert drop_columns(table, 60) == table
    narrow = drop_columns(table, 40)
    assert [column.title for column in narrow.columns] == ["ID", "TITLE", "N"]
    assert sum(fit_widths(narrow, 40)) + 2 * 2 == 40
    assert len(drop_columns(table, 5).columns) == 2


def test_activity_by_day():
    """Days are in the column of their week, with a darker shade for more messages; old weeks are cut off."""
    today = date(2026, 11, 21)
    said = {today: 8, today - timedelta(days=1): 1, date(2026, 11, 2): 4, date(2025, 1, 1): 9}
    assert activity_rows(said, today, 40) == [
        "    Nov", "Mon ▒··", "    ···", "Wed ···", "    ···", "Fri ··░", "    ··█", "Sun ··",
        "    less ·░▒▓█ more",
    ]  # fmt: skip
    assert activity_rows(said, today, 9, unicode=False)[1:3] == ["Mon .", "    ."]
    assert activity_rows({date(2025, 1, 1): 9}, today, 40) == []
    since_october = {date(2026, 10, 31): 1}  # October has one column, so November is named
    assert activity_rows(since_october, today, 40)[0] == "     Nov"
    assert activity_rows({}, today, 1) == []


@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_means_the_same_and_drives_nothing(ascii_only):
    """Characters that may drive a terminal or are not valid UTF-8 are escaped."""
    value = {"k\x9b": ["\x1b]0;x\x07", "\u202e", "\ud800", "é漢😀", "\x7f", "\u2028"]}
    text = json_text(value, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert not set("\x1b\x07\x9b\x7f\u202e\u2028\ud800") & set(text)
    assert ("é漢😀" in text) != ascii_only


def test_counts_in_words():
    """Nouns are in the singular or plural, and large numbers have separators."""
    assert [counted(n, "session") for n in (0, 1, 2)] == ["0 sessions", "1 session", "2 sessions"]
    assert counted(1234567, "entry") == "1,234,567 entries"
