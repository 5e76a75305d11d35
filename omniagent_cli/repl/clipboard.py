"""The clipboard: that of this system by one of its programs, and that of the terminal by a control sequence.

The sequence reaches the screen the person sits at, also over SSH, and nobody answers whether it was taken. Nothing
of the text is in it but base64.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SEQUENCE_BYTES = 74_994
"""Of text in one OSC 52 sequence: with its base64 they are 100,000 bytes, which is what terminals take."""

_PATIENCE_SECONDS = 2.0
_SCREEN_PIECE = 252
"""GNU screen takes control strings of 256 bytes."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that takes text for the clipboard on its stdin.

    Attributes:
        needs: the variable without which it cannot work; empty: none.
        platform: where alone it is asked; empty: anywhere.
        encoding: of the text.
    """

    argv: Sequence[str]
    needs: str = ""
    platform: str = ""
    encoding: str = "utf-8"

    @property
    def name(self) -> str:
        """What it is called."""
        return self.argv[0]

    def found(self, environ: Mapping[str, str]) -> str | None:
        """Return where it is, when it could work here."""
        if self.platform and not sys.platform.startswith(self.platform):
            return None
        if self.needs and not environ.get(self.needs):
            return None
        return shutil.which(self.name, path=environ.get("PATH"))


PROGRAMS = (
    Program(["pbcopy"], platform="darwin"),
    Program(["wl-copy"], needs="WAYLAND_DISPLAY"),
    Program(["xclip", "-selection", "clipboard"], needs="DISPLAY"),
    Program(["xsel", "--clipboard", "--input"], needs="DISPLAY"),
    Program(["clip.exe"], encoding="utf-16-le"),
    Program(["clip"], platform="win32", encoding="utf-16-le"),
)
"""In the order they are tried; the first that does it is enough."""


def hand_to_program(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Give a text to the clipboard of this system.

    Returns:
        The name of the program that took it, empty when none did, and what went wrong with others.
    """
    problems: list[str] = []
    for program in PROGRAMS:
        path = program.found(environ)
        if path is None:
            continue
        problem = _run([path, *program.argv[1:]], text.encode(program.encoding, "replace"), environ)
        if not problem:
            return program.name, problems
        problems.append(f"{program.name} {problem}")
    return "", problems


def _run(argv: Sequence[str], data: bytes, environ: Mapping[str, str]) -> str:
    """Run a program to its end, or until it takes too long; return what went wrong."""
    try:
        # Its output goes nowhere: what keeps the text for others to paste lives on and would hold a pipe open.
        done = subprocess.run(  # noqa: S603  # a program of the table, and no shell
            argv,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=dict(environ),
        )
    except subprocess.TimeoutExpired:
        return f"did nothing for {_PATIENCE_SECONDS:g} s"
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    return f"failed with exit code {done.returncode}" if done.returncode else ""


def sequence(text: str, environ: Mapping[str, str]) -> str:
    """Return what makes a terminal take a text to its clipboard; empty when the text is too long for one.

    tmux and screen hand it on to the terminal they are shown on when it is wrapped for them.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > SEQUENCE_BYTES:
        return ""
    plain = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    if environ.get("TMUX"):
        # The plain one too: tmux takes it when its set-clipboard is on, the wrapped one when it allows passthrough.
        return f"{plain}\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environ.get("STY"):
        pieces = (plain[i : i + _SCREEN_PIECE] for i in range(0, len(plain), _SCREEN_PIECE))
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain
