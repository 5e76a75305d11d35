"""A real shell on a pseudo-terminal, its screen as a person sees it, and what a command was really given."""

import os
import shutil
import sys
import time
from pathlib import Path

import pexpect
import pyte
import pytest

ROOT = Path(__file__).parents[2]
COMPLETIONS = ROOT / "completions"
ROWS, COLUMNS = 40, 110
PROMPT = "READY>"
SHELLS = ("bash", "zsh", "fish")

_ARGUMENTS = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}
_START = {
    "bash": "PS1='READY> '",
    "zsh": "PS1='READY> '; unsetopt beep; autoload -Uz compinit; compinit -u -D",
    "fish": "function fish_prompt; echo -n 'READY> '; end",
}
_SOURCE = {
    "bash": f". '{COMPLETIONS}/omniagent.bash'",
    "zsh": f". '{COMPLETIONS}/_omniagent'",
    "fish": f"source '{COMPLETIONS}/omniagent.fish'",
}
# TAB asks the real program; any other command only notes the words it was given.
_PROGRAM = """#!/bin/sh
if [ "$1" = __complete ]; then exec "{python}" -m omniagent_cli "$@"; fi
printf '%s\\0' "$@" > "$HOME/given.part" && mv "$HOME/given.part" "$HOME/given"
"""


def need(shell: str) -> str:
    """Return where a shell is, or skip; in CI a skip is a failure."""
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


class ShellDriver:
    """Types into a shell and waits for what the screen shows.

    Args:
        shell: its name.
        home: its home directory, and where it starts.
        arguments: instead of those that keep it from reading anybody's files.
        start: the first line; without one, the prompt is set and the script is read.
    """

    def __init__(
        self,
        shell: str,
        home: Path,
        *,
        arguments: list[str] | None = None,
        start: str | None = None,
    ) -> None:
        self._home = home
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.Stream(self._screen)
        self._child = pexpect.spawn(
            need(shell),
            _ARGUMENTS[shell] if arguments is None else arguments,
            cwd=str(home),
            env={
                "HOME": str(home),
                "PATH": f"{_binaries(home)}:/usr/bin:/bin",
                "PYTHONPATH": str(ROOT),
                "TERM": "xterm-256color",
                "LC_ALL": "C.UTF-8",
            },
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            codec_errors="replace",
        )
        self._child.delaybeforesend = None
        self.wait_for(self.lines)  # keys typed before a shell has its terminal in hand get lost
        self.type(f"{_START[shell]}; {_SOURCE[shell] if start is None else start}\rclear\r")
        self.wait_for(lambda: self.lines() == [PROMPT])

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    def type(self, text: str) -> None:
        """Send keys."""
        self._child.send(text)

    def lines(self) -> list[str]:
        """Return what is on the screen, without blank ends."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def shows(self, *texts: str) -> None:
        """Wait until the screen holds all of the texts."""
        self.wait_for(lambda: all(text in "\n".join(self.lines()) for text in texts))

    def line_is(self, text: str) -> None:
        """Wait until the prompt's line is this."""
        wanted = f"{PROMPT} {text}".rstrip()
        self.wait_for(lambda: wanted in self.lines())

    def given(self, keys: str) -> list[str]:
        """Type a command line, run it, and return the words the program was given."""
        noted = self._home / "given"
        noted.unlink(missing_ok=True)
        self.type(keys + "\r")
        self.wait_for(lambda: noted.exists() and self.lines()[-1:] == [PROMPT])
        return noted.read_text(encoding="utf-8").split("\0")[:-1]

    def wait_for(self, condition, seconds: float = 60.0) -> None:
        """Read until it holds; fail with the screen when it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("the screen stayed:\n" + "\n".join(self.lines()))
            self._pump()

    def _pump(self) -> None:
        try:
            data = self._child.read_nonblocking(65536, 0.02)
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF as end:
            raise AssertionError("the shell ended:\n" + "\n".join(self.lines())) from end
        self._stream.feed(data)
        if "\x1b[c" in data:  # newer fish asks what terminal this is
            self._child.send("\x1b[?62c")


def _binaries(home: Path) -> Path:
    directory = home / "bin"
    if not directory.exists():
        directory.mkdir()
        program = directory / "omniagent"
        program.write_text(_PROGRAM.format(python=sys.executable))
        os.chmod(program, 0o755)  # noqa: PTH101
    return directory
