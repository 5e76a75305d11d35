"""Encrypts a store, or changes its key, again and again: killed at one of its writes each time, then resumed.

Every call that changes a file is a place to die, in whatever module it is made; see `crashing` for other operations.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from omniagent_cli.stores import with_encryption
from tests.stores.secret_places import KEY, OTHER, PLACES, contents, fill, readable

WRITES = {"open", "write", "truncate", "ftruncate", "fsync", "replace", "rename", "unlink", "execute", "commit"}  # fmt: skip


def change(store, work):
    """Begin or resume the work with the key that the store has."""
    if work == "encrypt":
        return store.encrypt(KEY)
    if store.encryption()["state"] == "encrypted":
        with_encryption(store, KEY if store.key_matches(KEY) else OTHER)
    return store.rekey(OTHER)


def die_at(opened, work, number):
    """Do the work in a child that kills itself before its nth write; return the number of writes if it survives."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        with os.fdopen(reading) as file:
            written = file.read()
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]) == (not written)
        return int(written) if written else None
    count = 0

    def watch(_frame, event, called):
        nonlocal count
        if event == "c_call" and called.__name__ in WRITES:
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

    store = opened()
    sys.setprofile(watch)
    change(store, work)
    sys.setprofile(None)
    os.write(writing, str(count).encode())
    os._exit(0)


def main(directory, kind, work, points):
    """Die at about this many of the writes, or at each for 0; print how many there are."""
    place, kept = Path(directory, "place"), Path(directory, "kept")
    place.mkdir()

    def opened():
        return PLACES[kind](place, ttl=None)

    with opened() as store:
        fill(store, sessions=5, messages=4)
        before = contents(store)
        if work == "rekey":
            store.encrypt(KEY)
    shutil.copytree(place, kept)
    writes = die_at(opened, work, 0)
    assert readable(place) == []
    for number in range(1, writes + 1, max(1, writes // (int(points) or writes))):
        shutil.rmtree(place)
        shutil.copytree(kept, place)
        assert die_at(opened, work, number) is None
        with opened() as store:
            change(store, work)
            assert contents(store) == before, number
            assert store.check() == [], number
        assert readable(place) == [], number
    print(writes)
