"""Commands in scripts: nobody is asked, signals end them as shells expect, a closed pipe is quiet."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from omniagent_cli import Message
from tests import forked
from tests.cli.scene import environment

ASKING = (
    "sessions delete alice", "sessions clear alice", "sessions trim alice --keep 1", "sessions trash --empty", "store backup copy.db",
    "store encrypt", "config edit", "config trust", "sessions import --discover", "ask -m recall --yes-tools x hello", "doctor --offline",
)  # fmt: skip


@pytest.mark.parametrize("line", ASKING)
def test_nobody_is_asked_in_a_script(filled, db, tmp_path, home, line):
    """With a stdin that stays open and silent, what would ask a person ends by itself, and changes nothing."""
    filled.delete("carol")
    (tmp_path / "copy.db").write_text("mine")
    (tmp_path / ".omniagent.toml").write_text('[store]\nurl = "x"\n')
    with forked.start(
        ["-m", "omniagent_cli", *line.split()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=environment(db, HOME=str(home), OLLAMA_HOST="127.0.0.1:9", PYTHONPATH=os.getcwd()),  # noqa: PTH109
    ) as process:  # fmt: skip
        code = process.wait(timeout=60)
        told = process.stderr.read().decode()
        process.stdin.close()
    assert code in (0, 1, 2), told
    assert "Traceback" not in told
    assert "[y/N]" not in told
    assert filled.count_messages("alice") == 4
    assert len(filled.trash()) == 1
    assert (tmp_path / "copy.db").read_text() == "mine"


@pytest.mark.parametrize(
    "line",
    ["sessions list", "sessions list --ids -0", "sessions search word", "sessions export --all", "help environment", "config list"],
)  # fmt: skip
def test_a_closed_pipe_is_quiet(store, db, tmp_path, line):
    """Whoever reads a byte and leaves gets no complaint, and the shell sees what SIGPIPE means."""
    for number in range(40):
        store.append(f"session-{number}-{'x' * 200}", [Message("user", "word " * 500)])
    program = (
        f"{forked.python()} -m omniagent_cli {line} | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, cwd=tmp_path, timeout=60, check=False,
        env=environment(db, PYTHONPATH=os.getcwd()),  # noqa: PTH109
    )  # fmt: skip
    assert done.stderr == b""
    assert done.stdout.strip() in (b"141", b"0")  # all of it was in the pipe before the reader left


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("line", ["sessions delete --stdin -y", "sessions pin --stdin"])
def test_signals_end_what_waits_for_ids(filled, db, tmp_path, line, number, code):
    """A command that waits for ids ends at once by a signal, silently, and changes nothing."""
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "omniagent_cli", *line.split()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=environment(db, PYTHONPATH=os.getcwd()),  # noqa: PTH109
    ) as process:  # fmt: skip
        process.stdin.write(b"alice\n")
        process.stdin.flush()
        for imported in process.stderr:  # the last module before it reads
            if b"omniagent_cli.cli.framework.stdin_ids" in imported:
                break
        process.send_signal(number)
        _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in told
    assert filled.count() == 3
    assert not filled.summary("alice").pinned
