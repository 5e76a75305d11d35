"""`omniagent store sync`."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from omniagent_cli.stores import open_store
from tests.cli.scene import talk

SSHD = "/usr/sbin/sshd"


def texts(path, session_id):
    """Return the texts of a session of a store."""
    with open_store(path, ttl=None) as store:
        return [message.text for message in store.messages(session_id)]


@pytest.fixture
def other(tmp_path):
    """Return another store with a session of its own."""
    path = tmp_path / "other.db"
    with open_store(path, ttl=None) as store:
        talk(store, "dora", "hello", "hi")
    return path


def test_two_stores(run, filled, other):
    """All sessions of both are in both, with a line for each and a summary; the next run has nothing to do."""
    ran = run("store", "sync", str(other), "--dry-run")
    assert (ran.code, ran.lines) == (
        0,
        [
            "alice\tnew there, 4 messages sent",
            "bob\tnew there, 2 messages sent",
            "carol\tnew there, 1 message sent",
            "dora\tnew here, 2 messages received",
        ],
    )
    assert (
        ran.err == "Dry run: would synchronize 4 sessions: 2 messages received, 7 messages sent\n"
    )
    ran = run("store", "sync", str(other))
    assert ran.code == 0
    assert ran.err == "Synchronized 4 sessions: 2 messages received, 7 messages sent\n"
    assert texts(other, "alice")[0] == "My name is Alice"
    ran = run("store", "sync", str(other))
    assert (ran.code, ran.out, ran.err) == (0, "", "Nothing to synchronize\n")


def test_json(run, filled, other):
    """The report as JSON has what each session received, sent and lost."""
    run("store", "sync", str(other))
    run("sessions", "rename", "bob", "robert")
    run("sessions", "trim", "alice", "--keep", "3", "--yes")
    ran = run("store", "sync", str(other), "--json")
    assert [(s["id"], s["renamed_from"], s["removed_there"]) for s in ran.json["sessions"]] == [
        ("alice", None, 1),
        ("robert", "bob", 0),
    ]
    assert (ran.json["refused"], ran.json["notes"]) == ([], [])


def test_one_direction(run, filled, other):
    """--pull changes only this store, --push only the other one, and both together are refused."""
    assert run("store", "sync", str(other), "--pull").code == 0
    assert "dora" in run("sessions", "list", "--ids").lines
    assert run("sessions", "list", "--ids", store=other).lines == ["dora"]
    assert run("store", "sync", str(other), "--push").code == 0
    assert len(run("sessions", "list", "--ids", store=other).lines) == 4
    assert run("store", "sync", str(other), "--push", "--pull").code == 2


def test_with_itself(run, filled, db):
    """A store is not synchronized with itself."""
    ran = run("store", "sync", str(db))
    assert (ran.code, "with itself" in ran.err) == (2, True)


@pytest.mark.parametrize(
    "url", ["ssh://", "ssh://-oProxyCommand=x/s", "ssh://a:b@c/s", "ssh://h:x/s"]
)
def test_hosts_that_are_refused(run, filled, url):
    """A host that ssh could take for an option, and other invalid URLs, are usage errors."""
    ran = run("store", "sync", url)
    assert (ran.code, "invalid" in ran.err) == (2, True)


def test_a_machine_without_omniagent(run, filled, tmp_path, monkeypatch):
    """What the other machine prints instead of a greeting is reported with what to do, as exit code 3."""
    script = tmp_path / "bin" / "ssh"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\necho 'omniagent: error: unknown command serve-sync' >&2\nexit 2\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    ran = run("store", "sync", "ssh://laptop")
    assert ran.code == 3
    assert "laptop has no omniagent that can synchronize; install or update it there" in ran.err


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return the port of an sshd on loopback, and let `ssh` log in there."""
    if not Path(SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("needs openssh-server")
    directory = tmp_path / "ssh"
    directory.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
        )
    shutil.copy(directory / "user.pub", directory / "authorized")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    (directory / "server").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nStrictModes no\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/authorized\nPidFile none\nPermitRootLogin yes\n"
    )
    (directory / "client").write_text(
        f"IdentityFile {directory}/user\nUserKnownHostsFile {directory}/known\n"
        "StrictHostKeyChecking accept-new\nIdentitiesOnly yes\nLogLevel ERROR\n"
    )
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {directory}/client "$@"\n')
    (bin_ / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")
    server = subprocess.Popen(
        [SSHD, "-D", "-e", "-f", directory / "server"], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
    yield port
    server.terminate()
    server.wait()


def test_over_ssh(run, filled, other, machine, tmp_path):
    """A store of another machine is synchronized through sshd, with any path, and stays usable."""
    (tmp_path / "it's there").mkdir()
    there = other.rename(tmp_path / "it's there" / "my store.db")
    program = tmp_path / "omniagent there"
    root = Path(__file__).resolve().parents[2]
    program.write_text(
        f'#!/bin/sh\nunset OMNIAGENT_STORE\ncd {root}\nexec {sys.executable} -m omniagent_cli "$@"\n'
    )
    program.chmod(0o755)
    path = str(there).replace(" ", "%20").replace("'", "%27")
    url = f"ssh://127.0.0.1:{machine}{path}"
    ran = run("store", "sync", url, "--remote-program", str(program))
    assert (ran.code, ran.err) == (
        0,
        "Synchronized 4 sessions: 2 messages received, 7 messages sent\n",
    )
    assert texts(there, "carol") == ["one"]
    assert "dora" in run("sessions", "list", "--ids").lines
    ran = run("store", "sync", url, "--remote-program", str(program))
    assert ran.err == "Nothing to synchronize\n"


def test_through_a_directory(run, filled, other, tmp_path):
    """Two stores that never meet exchange their sessions through a directory."""
    place = tmp_path / "shared"
    place.mkdir()
    ran = run("store", "sync", "shared")
    assert ran.code == 0
    assert ran.err == "Synchronized 3 sessions: 0 messages received, 7 messages sent\n"
    ran = run("store", "sync", "shared", store=other)
    assert ran.err == "Synchronized 4 sessions: 7 messages received, 2 messages sent\n"
    ran = run("store", "sync", "shared")
    assert ran.lines == ["dora\tnew here, 2 messages received"]
    assert texts(other, "carol") == ["one"]


def test_messages_of_several_machines_are_marked(run, person, db, tmp_path):
    """With a name for the machine, messages record it, and `show` marks them once there are several."""
    run("ask", "-s", "a", "-m", "recall", "from the desk", store=db)
    run("config", "set", "sync.host", "laptop")
    run("ask", "-s", "a", "-m", "recall", "on the road", store=db)
    with open_store(db, ttl=None) as store:
        origins = [m.record.get("origin") for m in store.messages("a") if m.role == "user"]
    assert origins == [None, {"host": "laptop"}]
    with person("sessions", "show", "a") as terminal:
        assert terminal.wait() == 0
        headings = [line for line in terminal.shown.splitlines() if "#" in line]
    assert ["laptop" in line for line in headings] == [False, False, True, True]


def test_a_directory_that_does_not_exist(run, filled, tmp_path):
    """A disk that is not mounted is an error, not a new store at its place."""
    ran = run("store", "sync", "usb/omniagent")
    assert (ran.code, "no store or directory at" in ran.err) == (1, True)
    assert not (tmp_path / "usb").exists()
