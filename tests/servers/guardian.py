"""A guardian process: ends every process that a test run started and removes its directories, however the run ends.

python guardian.py  (reads lines: ``root PATH``, ``directory PATH``, at the end ``keep`` or ``remove``, the root)

A process belongs to the run if a directory of the run is named in its environment, its command line or its working
directory (HOME of a test is such a directory), or if it is a forked copy of the test process.
"""

from __future__ import annotations

import atexit
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_OUTSIDE = "TESTS_OUTSIDE"  # workers inherit it with a TMPDIR inside the run
_SECONDS = 30.0
_POLL_SECONDS = 0.5


class Guardian:
    """The guardian process of this test process.

    Attributes:
        outside: the directory for temporary files of the system.
        keep: keep the root directory at the end of this process, for a look at the files of failed tests.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self.outside = os.environ.setdefault(_OUTSIDE, tempfile.gettempdir())
        self.keep = False

    def start(self, root: Path) -> None:
        """Start the guardian of a run, and put temporary files into the root directory of the run."""
        self._process = subprocess.Popen(
            [sys.executable, "-S", __file__], stdin=subprocess.PIPE, start_new_session=True
        )
        atexit.register(self._end)
        scratch = root / "tmp"
        scratch.mkdir(mode=0o700)
        self._send(f"root {root}")
        self._send(f"directory {scratch}")
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)

    def make_directory(self, prefix: str) -> Path:
        """Make a directory outside the root directory, for servers of another user; it is removed with the run."""
        path = tempfile.mkdtemp(prefix=prefix, dir=self.outside)
        self._send(f"directory {path}")
        return Path(path)

    def _send(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def _end(self) -> None:
        assert self._process is not None
        self._send("keep" if self.keep else "remove")
        self._process.communicate()


GUARDIAN = Guardian()


def _lines(parent: int) -> Iterator[str]:
    """Yield the lines of the test process until it is gone; its forked copies may keep the pipe open."""
    rest = b""
    while os.getppid() == parent:
        if not select.select([0], [], [], _POLL_SECONDS)[0]:
            continue
        data = os.read(0, 65536)
        if not data:
            return
        *whole, rest = (rest + data).split(b"\n")
        yield from map(os.fsdecode, whole)


def _belongs(process: Path, names: re.Pattern[bytes], pipe: str) -> bool:
    with suppress(OSError):
        if names.search((process / "environ").read_bytes() + (process / "cmdline").read_bytes()):
            return True
        if names.search(os.fsencode((process / "cwd").readlink())):
            return True
        for descriptor in (process / "fd").iterdir():
            with suppress(OSError):
                if str(descriptor.readlink()) == pipe:
                    return True
    return False


def _ancestors() -> list[int]:
    """Return the number of this process and of all it descends from."""
    found = [os.getpid(), os.getppid()]
    with suppress(OSError):
        while found[-1] > 1:
            stat = Path(f"/proc/{found[-1]}/stat").read_text()
            found.append(int(stat.rpartition(")")[2].split()[1]))
    return found


def _found(directories: list[str], pipe: str, spared: list[int]) -> list[Path]:
    """Return the processes of a run in /proc."""
    names = re.compile(
        b"(?:%s)(?![\\w.-])" % b"|".join(map(re.escape, map(os.fsencode, directories)))
    )
    return [
        process
        for process in Path("/proc").glob("[0-9]*")
        if int(process.name) not in spared and _belongs(process, names, pipe)
    ]


def _is_guardian(process: Path) -> bool:
    with suppress(OSError):
        return os.fsencode(__file__) in (process / "cmdline").read_bytes().split(b"\0")
    return False


def _kill_all(directories: list[str], spared: list[int]) -> None:
    """Kill the processes of the run until there are none; guardians of its workers end by themselves."""
    pipe = f"pipe:[{os.fstat(0).st_ino}]"
    end = time.monotonic() + _SECONDS
    while (found := _found(directories, pipe, spared)) and time.monotonic() < end:
        for process in found:
            with suppress(OSError):
                if not _is_guardian(process):
                    os.kill(int(process.name), signal.SIGKILL)
        time.sleep(0.02)


def _guard() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    spared = _ancestors()
    directories: list[str] = []
    root, kept = "", False
    for line in _lines(spared[1]):
        kind, _, value = line.partition(" ")
        if kind == "root":
            root = value
        elif kind == "directory":
            directories.append(value)
        else:
            kept = kind == "keep"
            break
    if root:
        _kill_all([root, *directories], spared)
    for path in directories if kept else [*directories, root]:
        shutil.rmtree(path, ignore_errors=True)
    current = Path(root).parent / "pytest-current"
    if current.is_symlink() and not current.exists():
        current.unlink(missing_ok=True)


if __name__ == "__main__":
    _guard()
