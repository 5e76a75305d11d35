"""Does one operation on a JSON-file store again and again, killed at each of its steps on the disk in turn.

Run as a program with a directory and the name of an operation. Every audited step (open, rename, remove,
truncate) is a place to die; what a fresh look finds afterwards must be the state before or the state after.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

from omniagent_cli.models import Message, Session
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore

STEPS = {"open", "os.rename", "os.remove", "os.truncate"}


def prepare(path):
    with JsonlFilesStore(path) as store:
        for number in range(3):
            store.append("a", {"role": "user", "content": f"a{number}"})
        store.append("b", {"role": "user", "content": "b0"})
        store.append("gone", {"role": "user", "content": "g0"})
        store.put_attachment("a", "f" * 64, {"name": "x"})
        store.delete("gone")
        store.append("cut", [{"role": "user", "content": f"c{number}"} for number in range(4)])
        store.trim("cut", 2)
        uid = store.write("a", {"role": "assistant", "content": "a3"}).uid
        message = store.messages("a", last=1)[0]
        store.checkpoint("a", message, uid=uid, final=True)


def publish(store):
    uid = store.stage(Session(id="b"))
    store.stage_messages(uid, [Message("user", "imported")])
    store.publish(uid, Session(id="b"), replace=True)


def save(store):
    session = store.get("a")
    session.messages[1].content = "other"
    store.save(session)


OPERATIONS = {
    "append": lambda store: store.append("a", {"role": "user", "content": "more"}),
    "create": lambda store: store.append("new", {"role": "user", "content": "more"}),
    "attach": lambda store: store.write(
        "a", {"role": "user", "content": "e" * 64}, attachments={"e" * 64: {"name": "y"}}
    ),
    "rename": lambda store: store.rename("a", "c"),
    "delete": lambda store: store.delete("a"),
    "purge": lambda store: store.delete("a", purge=True),
    "trim": lambda store: store.trim("a", 1),
    "clear": lambda store: store.clear("a"),
    "fork": lambda store: store.fork("a", "copy"),
    "publish": publish,
    "save": save,
    "restore": lambda store: store.restore("gone"),
    "put-back": lambda store: store.restore("cut"),
    "empty-trash": lambda store: store.empty_trash(),
    "compact": lambda store: store.compact(),
}


def contents(store, uid):
    work = lambda tx: [row.payload for row in tx.rows(uid)]  # noqa: E731
    return store.transact(work, write=False)


def state(path):
    with JsonlFilesStore(path) as store:
        sessions = {
            summary.id: (contents(store, summary.uid), store.attachments(summary.id), summary.title)
            for summary in store.list()
        }
        trash = sorted(
            (entry.kind, entry.session_id, contents(store, entry.uid)) for entry in store.trash()
        )
        return sessions, trash


def die_at(path, operation, number):
    """Do the operation in a child that kills itself at its nth step; tell whether it came through."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    left = number
    root = str(path)

    def hook(event, arguments):
        nonlocal left
        if event in STEPS and isinstance(arguments[0], str | os.PathLike | int):
            if event == "open" and not str(arguments[0]).startswith(root):
                return
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    store = JsonlFilesStore(path)
    sys.addaudithook(hook)
    OPERATIONS[operation](store)
    os._exit(0)


def main(directory, operation):
    place = Path(directory)
    start, end, torn = place / "start", place / "end", place / "torn"
    prepare(start)
    shutil.copytree(start, end)
    with JsonlFilesStore(end) as store:
        OPERATIONS[operation](store)
    before, after = state(start), state(end)
    number = 0
    while True:
        number += 1
        shutil.copytree(start, torn)
        done = die_at(torn, operation, number)
        found = state(torn)
        assert found in (before, after), (number, found)
        if done:
            assert found == after
            break
        with JsonlFilesStore(torn) as store:  # and writing goes on, and changes nothing else
            store.append("b", {"role": "user", "content": "on"})
            again = state(torn)
        assert again[0].pop("b")[0][:-1] == found[0].pop("b")[0]
        assert again == found, number
        shutil.rmtree(torn)
    print(number)


if __name__ == "__main__":
    main(*sys.argv[1:])
