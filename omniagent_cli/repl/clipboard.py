"""Clipboard access: the system's, through one of its programs, and the terminal's, through OSC 52.

The control sequence also works over SSH, and terminals do not acknowledge it. It contains only base64 of the text.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SEQUENCE_BYTES = 74_994
"""Bytes of text in one OSC 52 sequence: 100,000 bytes in base64, the limit of common terminals."""

_PATIENCE_SECONDS = 2.0
_SCREEN_PIECE = 252
"""Bytes of a control string that GNU screen accepts."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program that copies its stdin to the clipboard.

    Attributes:
        needs: an environment variable that it requires; empty for none.
        platform: the only platform it is used on; empty for all.
        encoding: the encoding of the text.
    """

    argv: Sequence[str]
    needs: str = ""
    platform: str = ""
    encoding: str = "utf-8"

    @property
    def name(self) -> str:
        """The name of the program."""
        return self.argv[0]

    def found(self, environ: Mapping[str, str]) -> str | None:
        """Return its path if it can work here, else None."""
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
"""Programs in order of preference; the first that works is used."""


def copy_with_program(text: str, environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Copy a text to the clipboard of the system.

    Returns:
        The name of the program that copied it, empty if none did, and the errors of others.
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
    """Run a program within a time limit; return its error, or an empty string."""
    try:
        # Output is discarded: the process that serves the clipboard keeps running and would hold a pipe open.
        done = subprocess.run(  # noqa: S603  # a program of the table, without a shell
            argv,
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_SECONDS,
            check=False,
            env=dict(environ),
        )
    except subprocess.TimeoutExpired:
        return f"did not finish within {_PATIENCE_SECONDS:g} s"
    except OSError as error:
        return f"could not be started: {error.strerror}"
    return f"failed with exit code {done.returncode}" if done.returncode else ""


def sequence(text: str, environ: Mapping[str, str]) -> str:
    """Return the control sequence that copies a text to the terminal's clipboard; empty if the text is too long.

    For tmux and screen it is wrapped, so that they forward it to the terminal.
    """
    data = text.encode("utf-8", "replace")
    if len(data) > SEQUENCE_BYTES:
        return ""
    plain = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    if environ.get("TMUX"):
        # Also unwrapped: tmux accepts it with set-clipboard on, and the wrapped one with allow-passthrough.
        return f"{plain}\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"
    if environ.get("STY"):
        pieces = (plain[i : i + _SCREEN_PIECE] for i in range(0, len(plain), _SCREEN_PIECE))
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return plain
