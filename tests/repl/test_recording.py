"""The screen in the README."""

import re
import sys
from pathlib import Path

import pytest

from tests.repl.recording import recorded

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no ptys")


def test_the_screen_on_the_page_is_the_one_a_person_sees():
    """What the README shows of a chat is what `python -m tests.repl.recording` prints today."""
    page = README.read_text(encoding="utf-8")
    (shown,) = re.findall(
        r"<!-- python -m tests\.repl\.recording -->\n+```text\n(.*?)\n```", page, re.DOTALL
    )
    assert shown == recorded()
