"""Nothing is left behind by a test process that is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent

_TEST = """
import os, signal, subprocess, sys
from pathlib import Path
from tests.stores.{kind}_server import {name}

def test_it():
    server = {name}()
    print("\\nserver", os.getpid(), server.directory, flush=True)
    sys.stdin.read()
"""


def _using(directory):
    """Return the processes whose command line names a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if os.fsencode(directory) in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="this system has no /proc")
@pytest.mark.parametrize(
    ("kind", "name"), [("redis", "RedisServer"), ("postgres", "PostgresServer")]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_test_process_leaves_nothing(tmp_path, kind, name, number):
    """SIGKILL and Ctrl-C of pytest end the servers of its tests and remove their directories."""
    path = tmp_path / "test_it.py"
    path.write_text(_TEST.format(kind=kind, name=name))
    argv = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "-c", "/dev/null"]
    with subprocess.Popen(
        [*argv, f"--rootdir={tmp_path}", str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=TOP, env={**os.environ, "PYTHONPATH": str(TOP), "TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        lines = iter(process.stdout.readline, b"")
        words = next(line for line in lines if line.startswith(b"server ")).split()[1:]
        pid, directory = int(words[0]), words[1].decode()
        assert Path(directory).exists()
        os.kill(pid, number)
        process.wait(timeout=60)
        end = time.monotonic() + 60
        while (Path(directory).exists() or _using(directory)) and time.monotonic() < end:
            time.sleep(0.05)
    assert not Path(directory).exists()
    assert _using(directory) == []
