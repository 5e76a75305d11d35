"""The manual page: made of the commands, understood by man, and in the wheel."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from omniagent_cli.cli.framework.command_table import COMMANDS, Row, commands_below
from omniagent_cli.cli.reference.manpage import MAKE, PAGE_FILE, _line, page_text
from tests.completion.shell_driver import need

TOP = Path(__file__).parents[2]


def test_it_is_what_the_commands_say():
    """The page that is checked in is the one the commands make."""
    assert PAGE_FILE.read_text(encoding="utf-8") == page_text(), f"make it again: {MAKE}"


def test_man_understands_it():
    """A strict reader of manual pages has nothing to say about it."""
    done = subprocess.run(
        [need("mandoc"), "-T", "lint", "-W", "warning", PAGE_FILE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_shows_every_command_and_example():
    """As it is shown, each command has its heading, and each example can be copied as it stands."""
    shown = subprocess.run(
        [need("mandoc"), "-T", "utf8", "-O", "width=400", PAGE_FILE],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    while "\b" in shown:  # bold and underlined letters are printed twice
        place = shown.index("\b")
        shown = shown[: place - 1] + shown[place + 1 :]
    for path, row in commands_below(COMMANDS):
        if isinstance(row, Row):
            assert f"   omniagent {' '.join(path)}" in shown
            for example in row.examples:
                assert f"{example}\n" in shown
    for text in ("ENVIRONMENT", "OMNIAGENT_STORE", "EXIT STATUS", "FILES", "--store, --db URL"):
        assert text in shown


def test_text_is_no_request():
    """A line that would be read as a request of the formatter, or an escape, is text."""
    assert _line(".so /etc/passwd") == "\\&.so /etc/passwd"
    assert _line("'x\\n-y") == "\\(aqx\\en\\-y"


def test_the_wheel_has_it():
    """The wheel puts the page and the scripts for TAB where a system looks for them."""
    wheel = tomllib.loads((TOP / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]  # fmt: skip
    assert wheel["shared-data"]["omniagent_cli/man/omniagent.1"] == "share/man/man1/omniagent.1"
    assert all((TOP / source).is_file() for source in wheel["shared-data"])
