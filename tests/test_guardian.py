"""Nothing is left behind by a test run, also when it or one of its workers is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="this system has no /proc"
)

# A test that starts a program of each kind and then waits: on a pty, detached from everything, a forked copy of itself,
# a program on pipes, two database servers.
_TEST = """
import os, signal, subprocess, sys, time
from pathlib import Path
import pytest
from tests.repl.terminal import TerminalProgram

SLEEP = [sys.executable, "-SI", "-c", "import time; print('ready', flush=True); time.sleep(1000)"]

def test_it(tmp_path, home):
    terminal = TerminalProgram(SLEEP, {{"HOME": str(tmp_path)}})
    terminal.wait_for("ready", timeout=60)
    server = subprocess.Popen(SLEEP, stdout=subprocess.PIPE)
    server.stdout.readline()
    away = subprocess.Popen(
        SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, env={{"HOME": str(home)}}
    )
    away.stdout.readline()
    copy = os.fork()
    if not copy:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        while True:
            time.sleep(1000)
    left = [os.getpid(), terminal.pid, server.pid, away.pid, copy, tmp_path.parent]
    if {databases}:
        from tests.stores.postgres_server import PostgresServer
        from tests.stores.redis_server import RedisServer

        redis, postgres = RedisServer(), PostgresServer()
        left += [redis.process.pid, redis.directory, postgres.directory]
        left.append((postgres.directory / "data" / "postmaster.pid").read_text().split()[0])
    Path({report!r}).write_text("\\n".join(map(str, left)) + "\\nend")
    time.sleep(1000)
"""


def _runs(pid):
    """Return True if a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _run(tmp_path, *options, databases):
    """Start a run of the test in a process group of its own; return it and the file of its report."""
    report = tmp_path / "report"
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(_TEST.format(report=str(report), databases=databases))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "no:cacheprovider", "-c", "/dev/null"]  # fmt: skip
    environ = {key: text for key, text in os.environ.items() if "XDIST" not in key}
    environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [*argv, f"--rootdir={tmp_path}", *options, str(tmp_path / "test_it.py")],
            cwd=TOP,
            env={**environ, "PYTHONPATH": str(TOP), "PYTEST_DEBUG_TEMPROOT": str(tmp_path)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return process, report


def _reported(report):
    """Return the process numbers and directories that the test wrote, the number of its own process first."""
    end = time.monotonic() + 100
    while not (report.exists() and report.read_text().endswith("end")):
        assert time.monotonic() < end, (report.parent / "output").read_text()
        time.sleep(0.05)
    lines = report.read_text().splitlines()[:-1]
    return [int(x) for x in lines if x.isdigit()], [Path(x) for x in lines if not x.isdigit()]


def _left(pids, directories):
    """Return what is still there after up to 60 s."""
    end = time.monotonic() + 60
    while True:
        left = [pid for pid in pids if _runs(pid)] + [d for d in directories if d.exists()]
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_killed_run_leaves_nothing(tmp_path, options, number):
    """SIGKILL, Ctrl-C and SIGTERM of pytest end all processes of its tests and remove its directories."""
    process, report = _run(tmp_path, *options, databases=number == signal.SIGKILL and not options)
    pids, directories = _reported(report)
    process.send_signal(number)
    process.wait(timeout=60)
    assert _left(pids, directories) == []


def test_a_killed_worker_leaves_nothing(tmp_path):
    """SIGKILL of one xdist worker ends the processes of its test, and the run ends by itself."""
    process, report = _run(tmp_path, "-n", "1", "--max-worker-restart=0", databases=False)
    pids, directories = _reported(report)
    os.kill(pids[0], signal.SIGKILL)
    assert process.wait(timeout=60) == 1
    assert _left(pids, directories) == []
