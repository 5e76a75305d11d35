"""A guardian of processes and directories: removes them when the test process is gone, however it ended.

python guardian.py  (reads lines: ``process PID``, ``directory PATH``, ``done KEY``; its input ends with the test process)
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SECONDS = 5.0


class Guardian:
    """The guardian process of this test process, started with the first thing to guard."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def process(self, pid: int) -> None:
        """End a process and all its descendants when this process is gone."""
        self._send(f"process {pid}")

    def directory(self, path: str | Path) -> None:
        """Remove a directory when this process is gone."""
        self._send(f"directory {path}")

    def pid_file(self, path: str | Path) -> None:
        """End the process named in the first line of a file, read only when this process is gone."""
        self._send(f"pidfile {path}")

    def _send(self, line: str) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-S", __file__], stdin=subprocess.PIPE, start_new_session=True
            )
            atexit.register(self._end)
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _end(self) -> None:
        assert self._process is not None
        self._process.communicate()


GUARDIAN = Guardian()


def _tree(pid: int) -> list[int]:
    """Return a process and its descendants, as far as /proc lists them."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _started(pid: int) -> str:
    """Return the start time of a process, which tells it from a later one with its number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + _SECONDS
    while any(_started(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.01)


def _guard() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    lines = []
    for line in sys.stdin:
        kind, _, value = line.rstrip("\n").partition(" ")
        lines.append((kind, value, _started(int(value)) if kind == "process" else ""))
    pids = [int(v) for kind, v, since in lines if kind == "process" and since == _started(int(v))]
    for kind, value, _ in lines:
        if kind == "pidfile":
            with suppress(OSError, ValueError, IndexError):
                pids.append(int(Path(value).read_text().splitlines()[0]))
    _kill([child for pid in pids for child in _tree(pid)])
    for kind, value, _ in lines:
        if kind == "directory":
            shutil.rmtree(value, ignore_errors=True)


if __name__ == "__main__":
    _guard()
