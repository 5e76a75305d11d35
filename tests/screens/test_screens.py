"""Whole screens, compared as text: from 20 to 250 columns, without color, in the C locale.

After an intended change, `WRITE_GOLDEN=1 python -m pytest tests/screens` writes the files again, to be reviewed.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.screens.__main__ import svg
from tests.screens.scenes import SCENES, played, text_of

GOLDEN = Path(__file__).parent / "golden"
COMPARED = sorted(
    set(SCENES) - {"stats", "help"}
)  # its map ends today; the other changes with every command


def check(name, text):
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [20, 40, 100, 250])
@pytest.mark.parametrize("name", COMPARED)
def test_a_screen_at_every_width(name, columns):
    """Each screen has exactly the expected text, and nothing is wider than the terminal."""
    check(f"{name}-{columns}", text_of(played(name, columns)))


@pytest.mark.parametrize("name", COMPARED)
def test_a_screen_in_the_c_locale(name):
    """In the C locale each screen is drawn in ASCII."""
    text = text_of(played(name, 100, LC_ALL="C"))
    assert text.isascii()
    check(f"{name}-ascii", text)


@pytest.mark.parametrize("name", COMPARED)
def test_a_screen_without_color(name):
    """With NO_COLOR the text is the same, there is no color, and bold is kept."""
    screen = played(name, 100, NO_COLOR="1")
    assert text_of(screen) + "\n" == (GOLDEN / f"{name}-100.txt").read_text(encoding="utf-8")
    cells = [
        cell for row in [*screen.history.top, *screen.buffer.values()] for cell in row.values()
    ]
    assert {cell.fg for cell in cells} <= {"default"}
    assert name == "tree" or any(cell.bold for cell in cells)


@pytest.mark.parametrize("name", ["stats", "show"])
def test_a_screen_as_a_picture(name):
    """A picture is well-formed SVG that contains the words of the screen."""
    screen = played(name, 100, rows=60)
    words = "".join(ET.fromstring(svg(screen)).itertext()).split()
    assert re.sub(r"\s+", "", "".join(words)) == re.sub(r"\s+", "", screen.text)
