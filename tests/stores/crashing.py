"""Crashes at every step of one operation on a JSON-file store.

Run as a program with a directory and the name of an operation. Before each audited step (open, rename, remove,
truncate) the store is copied as it is on the disk, which is what a process killed there would leave; each copy must
hold the state before or the state after.
"""

import os
import shutil
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
        uid = store.write("growing", {"role": "user", "content": "g0"}).uid
        store.checkpoint("growing", Message("assistant", "so"), uid=uid)
        merge_two_copies(store, Path(path) / "merged.jsonl", Path(path) / "merged.jsonl")
        copy = Path(path) / "synced.sync-conflict-20260101-120000-ABCDEFG.jsonl"
        merge_two_copies(store, Path(path) / "synced.jsonl", copy)


def merge_two_copies(store, path, target):
    """Let two copies of a session grow, and add the lines of the second to the first, or write it beside."""
    store.append(path.stem, {"role": "user", "content": "m0"})
    base = path.read_bytes()
    store.append(path.stem, {"role": "user", "content": "m1"})
    first = path.read_bytes()
    path.write_bytes(base)
    store.append(path.stem, {"role": "user", "content": "m2"})
    second = path.read_bytes()
    if path == target:
        target.write_bytes(second + first[len(base) :])
    else:
        path.write_bytes(first)
        target.write_bytes(second)


def grow(store, *, final):
    answer = store.messages("growing", last=1)[0]
    answer.content, answer.status = "so far", "complete"
    uid = store.header("growing").uid
    store.checkpoint("growing", answer, uid=uid, final=final)


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
    "grow": lambda store: grow(store, final=False),
    "finish": lambda store: grow(store, final=True),
    "write-merged": lambda store: store.append("merged", {"role": "user", "content": "on"}),
    "take-in": lambda store: store.check(repair=True),
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


def crashes(path, operation):
    """Do the operation; yield a copy of the directory as it was before each step, and at last the directory itself."""
    copies, root, copying = [], str(path), False

    def hook(event, arguments):
        nonlocal copying
        if copying or event not in STEPS or not isinstance(arguments[0], str | os.PathLike | int):
            return
        if event == "open" and not str(arguments[0]).startswith(root):
            return
        copying = True
        copies.append(path.with_name(f"torn{len(copies)}"))
        shutil.copytree(path, copies[-1])
        copying = False

    store = JsonlFilesStore(path)
    sys.addaudithook(hook)
    OPERATIONS[operation](store)
    copying = True
    yield from copies
    yield path


def main(directory, operation):
    place = Path(directory)
    start = place / "start"
    prepare(start)
    before = state(start)
    *all_torn, end = crashes(start, operation)
    after = state(end)
    for number, torn in enumerate(all_torn, 1):
        found = state(torn)
        assert found in (before, after), (number, found)
        with JsonlFilesStore(torn) as store:  # and writing goes on, and changes nothing else
            store.append("b", {"role": "user", "content": "on"})
            again = state(torn)
        assert again[0].pop("b")[0][:-1] == found[0].pop("b")[0]
        assert again == found, number
        shutil.rmtree(torn)
    print(len(all_torn))


if __name__ == "__main__":
    main(*sys.argv[1:])
