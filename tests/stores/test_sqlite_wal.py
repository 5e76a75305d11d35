"""A WAL that a killed process left: taken in when it is whole, told and kept when it was damaged."""

import fcntl
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path

import pytest

from omniagent_cli.errors import StoreCorrupt
from omniagent_cli.stores.backends.sqlite import wal
from omniagent_cli.stores.backends.sqlite.store import SqliteStore

from .children import Child, Pipe
from .place import start

WAL_CKPT_LOCK = 121
"""Byte of the shared memory: https://www.sqlite.org/walformat.html#wal_locks"""

WRITE = """
import os, signal, sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
store = SqliteStore(sys.argv[1])
for number in range(20):
    store.append("s", {"role": "user", "content": f"message {number} " + "x" * 3000})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def left(tmp_path):
    """Return the path of a store whose writer was killed after 20 messages."""
    path = tmp_path / "sessions.db"
    process = start(WRITE, path)
    process.communicate()
    return path


def flip(data, place):
    data[place] ^= 4


def cut(data, place):
    del data[place:]


def push(data, place):
    data[place:place] = b"more"


def turn(data, place):
    data[place : place + 512] = bytes(byte ^ 255 for byte in data[place : place + 512])


def wipe_header(data, _):
    data[:32] = bytes(32)


def change(path, how, share):
    """Damage the WAL at a share of its length and return what it is then."""
    wal = path.with_name(path.name + "-wal")
    data = bytearray(wal.read_bytes())
    how(data, int(len(data) * share))
    wal.write_bytes(data)
    return bytes(data)


def test_what_a_killed_process_left_is_taken_in(left):
    """Every message it had stored is there, and nothing is said."""
    with SqliteStore(left) as store:
        assert store.count_messages("s") == 20
        assert store.known_backups() == []


@pytest.mark.parametrize("how", [flip, cut, push, turn, wipe_header])
@pytest.mark.parametrize("share", [0, 0.3, 0.6])
def test_damage_is_told_once_and_its_bytes_are_kept(left, how, share):
    """The first use says so and keeps a private copy; after that everything before the damage is there."""
    damaged = change(left, how, share)
    with SqliteStore(left) as store:
        with pytest.raises(StoreCorrupt, match="WAL"):
            store.list()
        assert store.count() in (0, 1)
        (copy,) = store.known_backups()
        store.append("s", {"role": "user", "content": "on"})
        assert store.messages("s", last=1)[0].text == "on"
    assert Path(copy).read_bytes() == damaged
    assert stat.S_IMODE(Path(copy).stat().st_mode) == 0o600


@pytest.mark.parametrize("how", [flip, turn, wipe_header])
def test_damage_shows_without_the_shared_memory_too(left, how):
    """A store that was copied as file and WAL has only its frames to tell by."""
    left.with_name(left.name + "-shm").unlink()
    change(left, how, 0.4)
    with SqliteStore(left) as store, pytest.raises(StoreCorrupt, match="WAL"):
        store.list()


def test_an_unfinished_end_is_no_damage(left):
    """After a power cut the last transaction may be half there: it never counted."""
    left.with_name(left.name + "-shm").unlink()
    change(left, cut, 0.99)
    with SqliteStore(left) as store:
        assert store.count_messages("s") == 19
        assert store.known_backups() == []


def test_a_checkpoint_of_another_process_is_no_damage(left, monkeypatch):
    """While another process checkpoints, the frames cannot be counted; they are, once it has ended."""
    remainder = wal.read_leftover_wal(str(left))
    assert remainder.ends
    held, go = Pipe(), Pipe()

    def checkpoint():
        with open(f"{left}-shm", "r+b") as memory:  # noqa: PTH123  # the lock ends with any descriptor of the file
            fcntl.lockf(memory, fcntl.LOCK_EX, 1, WAL_CKPT_LOCK)
            held.send()
            go.wait()

    with closing(sqlite3.connect(left)) as connection:
        connection.execute("SELECT count(*) FROM sessions").fetchone()  # takes the WAL in
        child = Child(checkpoint)
        held.wait()
        sleep = time.sleep
        monkeypatch.setattr(wal.time, "sleep", lambda seconds: (go.send(), sleep(seconds)))
        wal.check_recovered(connection, str(left), remainder)
        child.join()
