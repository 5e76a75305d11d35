"""What this process does with a store file beside its connection leaves the connection's locks alone."""

import gc
import os
import stat
from pathlib import Path

import pytest

from omniagent_cli.errors import StoreReadOnly, StoreUnavailable, StoreUnreachable
from omniagent_cli.models import Message, Session
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from omniagent_cli.stores.transfer.migrate import migrate

from .place import finish, start

APPEND = """
import sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    store.append("s", {"role": "user", "content": "theirs"})
"""

READ = """
import sys
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
with SqliteStore(sys.argv[1]) as store:
    print(*[message.text for message in store.messages("s")])
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sessions.db"


@pytest.mark.parametrize("use", [False, True], ids=["opened", "used and closed"])
def test_a_second_store_object_takes_nothing_from_the_first(path, use):
    """Two objects for one file in one process: another process that comes and goes removes no WAL of theirs."""
    with SqliteStore(path) as store:
        store.append("s", {"role": "user", "content": "mine"})
        with SqliteStore(path) as second:
            if use:
                second.append("s", {"role": "user", "content": "second"})
        with SqliteStore(path):
            finish(start(APPEND, path))
        store.append("s", {"role": "user", "content": "acknowledged"})
        assert finish(start(READ, path)).split()[-2:] == ["theirs", "acknowledged"]


def test_no_descriptor_stays_open(path):
    """However many store objects come and go, none of their files stays open."""
    own = Path("/proc/self/fd")
    if not own.is_dir():
        pytest.skip("this system does not list a process's files")
    before = len(list(own.iterdir()))
    for _ in range(5):
        with SqliteStore(path) as store, SqliteStore(path) as second:
            store.append("s", {"role": "user", "content": "a"})
            SqliteStore(path).close()
            second.get("s")
    assert len(list(own.iterdir())) == before


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR])
def test_what_is_no_file_is_left_alone(path, kind):
    """A FIFO does not make us wait, and a device is not taken for an empty store and made private."""
    try:
        os.mknod(path, kind | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    path.chmod(0o666)
    with pytest.raises(StoreUnreachable, match="is not a regular file"):
        with SqliteStore(path) as store:
            store.append("s", {"role": "user", "content": "a"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_stores_that_are_dropped_release_their_files(path):
    """A store object that is dropped without closing releases its files, before any garbage collection."""
    own = Path("/proc/self/fd")
    if not own.is_dir():
        pytest.skip("this system does not list a process's files")
    gc.collect()
    before = len(list(own.iterdir()))
    gc.disable()
    try:
        for _ in range(5):
            SqliteStore(path).append("s", {"role": "user", "content": "a"})
        assert len(list(own.iterdir())) == before
    finally:
        gc.enable()


class TestHardLinks:
    """A store file with two names: SQLite would keep a WAL for each, and lose what is in the other."""

    def test_another_name_of_an_open_store_is_refused(self, path):
        """While the store is in use under one name, the other is refused with the first one."""
        link = path.with_name("link.db")
        with SqliteStore(path) as store:
            store.append("s", {"role": "user", "content": "a"})
            os.link(path, link)
            with SqliteStore(link) as other:
                for use in (lambda: other.messages("s"), lambda: other.get_or_create("s")):
                    with pytest.raises(StoreUnavailable, match=f"hard link.*{path.name}"):
                        use()
            store.append("s", {"role": "user", "content": "b"})
            assert [message.text for message in store.messages("s")] == ["a", "b"]

    def test_a_file_with_two_names_is_only_read(self, path):
        """A closed store is read under each name; a write names the reason, and works on a copy."""
        link = path.with_name("link.db")
        with SqliteStore(path) as store:
            store.append("s", {"role": "user", "content": "a"})
        os.link(path, link)
        for name in (path, link):
            with SqliteStore(name) as store:
                for write in (lambda: store.append("s", Message("user", "b")), store.compact):
                    with pytest.raises(StoreReadOnly, match="2 names"):
                        write()
                assert [message.text for message in store.messages("s")] == ["a"]
        link.unlink()
        with SqliteStore(path) as store:
            store.append("s", {"role": "user", "content": "b"})


class MeddledStore(SqliteStore):
    """A store to whose file another connection writes whenever text is prepared for the index."""

    meddles = True

    def index_text(self, text):
        if self.meddles:
            with SqliteStore(self.path) as other:
                other.append("other", {"role": "user", "content": "meanwhile"})
        return super().index_text(text)


LONG = "Grüße " * 140_000
"""Text that is indexed with its commit; shorter text is indexed later."""


def _append(store):
    store.append("s", {"role": "user", "content": LONG})


def _checkpoint(store):
    uid = store.get_or_create("s").uid
    (growing,) = store.checkpoint("s", Message("assistant", "Gr"), uid=uid).messages
    growing.content = LONG
    store.checkpoint("s", growing, uid=uid, final=True)


def _save(store):
    session = store.get_or_create("s")
    session.messages.append(Message("user", LONG))
    store.save(session)


def _stage(store):
    uid = store.stage(Session("s"))
    store.stage_messages(uid, [Message("user", LONG)])
    store.publish(uid, Session("s"))


def _migrate(store):
    with MemoryStore() as source:
        _append(source)
        migrate(source, store)


def _restore(store):
    _append(store)
    store.delete("s")
    store.restore("s")


def _fork(store):
    store.append("origin", Message("user", LONG))
    store.fork("origin", "s")
    store.delete("origin")


def _append_staged(store):
    revision = store.get_or_create("s").revision
    uid = store.stage(Session("s"))
    store.stage_messages(uid, [Message("user", LONG)])
    store.append_staged(uid, "s", revision=revision)


def _set_status(store):
    _append(store)
    store.set_message_status("s", 0, "failed")


CHANGES = [
    _append,
    _checkpoint,
    _save,
    _stage,
    _migrate,
    _restore,
    _fork,
    _append_staged,
    _set_status,
]


@pytest.mark.parametrize("change", CHANGES)
def test_search_text_is_prepared_before_the_transaction(path, change):
    """Long text is prepared for the index while other writers may still write."""
    with MeddledStore(path) as store:
        change(store)
        store.meddles = False
        assert [hit.session_id for hit in store.search("grusse")] == ["s"]
        assert store.check() == []
        assert {message.text for message in store.messages("other")} == {"meanwhile"}
