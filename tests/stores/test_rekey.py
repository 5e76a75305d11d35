"""Encrypting a store where it is, and changing its key: nothing lost, nothing readable left, whatever comes in between."""

import threading
from functools import partial
from pathlib import Path

import pytest

from omniagent_cli.errors import CorruptSession, DecryptionError, EncryptedStore, StoreCorrupt
from omniagent_cli.models import Message
from omniagent_cli.stores import Passphrase, open_store, with_compression, with_encryption
from omniagent_cli.stores.encryption.codec import PayloadCodec

from .place import finish, run, start
from .secret_places import BACKENDS, KEY, OTHER, PLACES, contents, fill, readable

TOP = Path(__file__).parents[2]


@pytest.fixture(params=BACKENDS)
def opened(request, tmp_path):
    """Return a way to open the store of the test; a store in memory is the same each time."""
    if request.param != "memory":
        return partial(BACKENDS[request.param], tmp_path, ttl=None)
    store = BACKENDS["memory"](tmp_path, ttl=None)
    store._close = lambda: None

    def again():
        store._closed = False
        store.use_codec(PayloadCodec())
        return store

    return again


@pytest.fixture(params=PLACES)
def placed(request, tmp_path):
    """Return a way to open the store of the test, which has files."""
    return partial(PLACES[request.param], tmp_path, ttl=None)


@pytest.mark.parametrize("key", [KEY, Passphrase("a word of mine")], ids=str)
def test_encrypted_in_place(opened, key):
    """Everything that was in a plain store is in the encrypted one, for the key alone."""
    with opened() as store:
        fill(store)
        before = contents(store)
        done = store.encrypt(key)
        assert contents(store) == before
        assert (done.sessions, done.damaged, done.copies) == (len(before[0]) + 2, [], [])
        assert done.messages == store.info()["messages"] if "messages" in store.info() else True
        assert store.check() == []
    with with_encryption(opened(), key) as store:
        assert contents(store) == before
        assert store.encryption()["state"] == "encrypted"
        store.append("s0", Message("user", "more"))
    with opened() as store:
        assert {s.id: s.message_count for s in store.list()} == {
            s.id: s.message_count + (s.id == "s0") for _, _, s in before[0].values()
        }
        with pytest.raises(EncryptedStore, match="'s0'"):
            store.get("s0")
        with pytest.raises(EncryptedStore):
            store.append("s0", Message("user", "plain"))
    with with_encryption(opened(), bytes(32)) as store:
        with pytest.raises(DecryptionError, match="'s0'"):
            store.get("s0")
        with pytest.raises(DecryptionError):
            store.append("s0", Message("user", "x"))


def test_nothing_readable_is_left(placed, tmp_path):
    """No word of a conversation is left in any file: rows, WAL, free pages, words of the index, trash, side files."""
    with placed() as store:
        fill(store, sessions=30)
        assert readable(tmp_path) != []
        store.encrypt(KEY)
        assert readable(tmp_path) == []
        store.append("s0", Message("user", "pademelon again"))
        store.delete("s1")
        assert store.search("pademelon")
        assert store.list()
    assert readable(tmp_path) == []


def test_torn_writes_leave_nothing_either(tmp_path):
    """What a crash left behind in a directory of files is gone too: torn ends, side files, the index, drafts."""
    with PLACES["file"](tmp_path, ttl=None) as store:
        fill(store)
        own = tmp_path / "sessions" / ".omniagent"
        with (tmp_path / "sessions" / "s4.jsonl").open("ab") as file:
            file.write(b'{"position":99,"id":"pade')
        (own / "torn" / "gone.torn").write_bytes(b"pademelon")
        (own / "tmp" / "begun.jsonl").write_bytes(b"pademelon")
        store.encrypt(KEY)
        assert readable(tmp_path) == []


def test_a_file_nobody_can_read_is_told(tmp_path):
    """A damaged file is not passed over: it is named, all else is encrypted, and moved away it is no hindrance."""
    with PLACES["file"](tmp_path, ttl=None) as store:
        fill(store)
        damaged = tmp_path / "sessions" / "s4.jsonl"
        damaged.write_bytes(b"?" + damaged.read_bytes()[1:])
        with pytest.raises(StoreCorrupt, match=r"s4\.jsonl"):
            store.encrypt(KEY)
        assert {name.partition(":")[0] for name in readable(tmp_path)} == {"sessions/s4.jsonl"}
        damaged.unlink()
        store.encrypt(KEY)
        assert store.encryption()["state"] == "encrypted"


def test_damaged_text_is_not_left_readable(tmp_path):
    """A message that cannot be read any more is encrypted as it is, and still told as damaged."""
    import sqlite3
    from contextlib import closing

    with PLACES["sqlite"](tmp_path, ttl=None) as store:
        fill(store)
    for payload in (b"\x00pademelon", b"\x01pademelon", b'{"content":"pademelon'):
        with closing(sqlite3.connect(tmp_path / "sessions.db")) as connection:
            connection.execute(
                "UPDATE messages SET payload = ? WHERE key IN (SELECT key FROM messages WHERE position = 5"
                " AND session IN (SELECT key FROM sessions WHERE hidden = 0) AND substr(payload, 1, 1) = x'7b' LIMIT 1)",
                (payload,),
            )
            connection.commit()
    with PLACES["sqlite"](tmp_path, ttl=None) as store:
        done = store.encrypt(KEY)
        assert readable(tmp_path) == []
        assert len(done.damaged) == 2  # the third looks sound as long as nobody parses it
        names = [s.id for s in store.list() if not _whole(store, s.id)]
        assert len(names) == 3
        assert set(done.damaged) <= set(names)
        store.rekey(OTHER)
        assert [s.id for s in store.list() if not _whole(store, s.id)] == names


def _whole(store, session_id):
    try:
        return bool(store.messages(session_id))
    except CorruptSession:
        return False


def test_backups_that_can_be_read_are_named(placed, tmp_path):
    """Backups of before are named as long as they are there and can be read without the key of now."""
    with placed() as store:
        fill(store)
        for name in ("one", "two", "three"):
            store.backup(tmp_path / name)
        backup = tmp_path / "three"
        done = store.encrypt(KEY)
        assert done.copies == [str(tmp_path / name) for name in ("one", "two", "three")]
        with open_store(backup) as copy:
            copy.encrypt(KEY)
        store.backup(tmp_path / "four")
        assert store.encrypt(KEY).copies == [str(tmp_path / "one"), str(tmp_path / "two")]
        assert str(tmp_path / "four") in store.rekey(OTHER).copies


class TestRekey:
    @pytest.mark.parametrize(
        ("opened", "old", "new"),
        [
            *((backend, KEY, OTHER) for backend in BACKENDS),
            *((backend, KEY, Passphrase("new")) for backend in BACKENDS),
            ("sqlite", Passphrase("old"), OTHER),
            ("sqlite", Passphrase("old"), Passphrase("old")),  # a new salt, and so another key
        ],
        ids=str,
        indirect=["opened"],
    )
    def test_key_is_changed(self, opened, old, new):
        """Everything is there with the new key, and nothing with the old one."""
        with with_encryption(opened(), old) as store:
            fill(store)
            before = contents(store)
            store.rekey(new)
            assert contents(store) == before
        with with_encryption(opened(), new) as store:
            assert contents(store) == before
        if old != new:
            with (
                with_encryption(opened(), old) as store,
                pytest.raises(DecryptionError, match="'s0'"),
            ):
                store.get("s0")

    def test_no_bytes_of_the_old_key_are_left(self, placed, tmp_path):
        """No payload that the old key opens is left in any file."""
        with with_encryption(placed(), KEY) as store:
            fill(store)
            old_id = bytes.fromhex(store.encryption()["key_id"])
            store.rekey(OTHER)
        import base64
        import re

        for path in tmp_path.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert b"\x00\x01" + old_id not in data
                for text in re.findall(rb"[A-Za-z0-9+/]{40,}", data):
                    whole = text[: len(text) // 4 * 4]
                    assert not base64.b64decode(whole).startswith(b"\x00\x01" + old_id)

    def test_wrong_or_no_key(self, opened):
        """Without the key it has, or on a plain store, nothing is changed, and it is told why."""
        with opened() as store, pytest.raises(EncryptedStore, match="not encrypted"):
            store.rekey(KEY)
        with with_encryption(opened(), KEY) as store:
            fill(store)
            before = contents(store)
        with opened() as store, pytest.raises(EncryptedStore, match="current key of the store"):
            store.rekey(OTHER)
        with with_encryption(opened(), bytes(16)) as store, pytest.raises(DecryptionError):
            store.rekey(OTHER)
        with opened() as store, pytest.raises(DecryptionError):
            store.encrypt(OTHER)
        with with_encryption(opened(), KEY) as store:
            assert contents(store) == before

    def test_compressed_stays_compressed(self, opened):
        """Encrypting and changing the key go through the codec: compressed stores stay so."""
        with with_compression(opened()) as store:
            fill(store)
            before = contents(store)
            store.encrypt(KEY)
            store.rekey(OTHER)
            assert store.codec.compress
            assert contents(store) == before


class StoppedError(Exception):
    pass


def stopped_after(steps):
    left = steps

    def progress(_count):
        nonlocal left
        left -= 1
        if left < 0:
            raise StoppedError

    return progress


class TestInterrupted:
    @pytest.mark.parametrize("steps", [0, 1, 3, 5])
    def test_half_encrypted(self, opened, steps):
        """Half encrypted, the store is whole for the key, closed to writers without it, and can be finished."""
        with opened() as store:
            fill(store)
            before = contents(store)
            with pytest.raises(StoppedError):
                store.encrypt(KEY, stopped_after(steps))
        with opened() as store:
            assert store.encryption()["state"] == "encrypting"
            with pytest.raises(EncryptedStore):
                store.append("s0", Message("user", "plain"))
            with pytest.raises(DecryptionError):
                store.encrypt(OTHER)
            with pytest.raises(EncryptedStore, match="store encrypt"):
                store.rekey(OTHER)
        with with_encryption(opened(), KEY) as store:
            assert contents(store) == before
            assert store.check() == []
            store.append("new", Message("user", "secret"))
            store.rename("s5", "zz")
            store.trim("s4", 2)
            store.restore("s4")
        with opened() as store:
            store.encrypt(KEY)
            sessions, trash, _ = contents(store)
            assert sessions.keys() == {*before[0], "new", "zz"} - {"s5"}
            assert sessions["s1"] == before[0]["s1"]
            assert sessions["zz"][0].messages == before[0]["s5"][0].messages
            assert sessions["s4"][0].messages == before[0]["s4"][0].messages
            assert trash == before[1]

    @pytest.mark.parametrize(
        ("opened", "new"),
        [*((backend, OTHER) for backend in BACKENDS), ("sqlite", Passphrase("new"))],
        ids=str,
        indirect=["opened"],
    )
    def test_half_changed(self, opened, new):
        """While the key is changed the new one opens everything, the old one alone nothing, and both may be given."""
        with with_encryption(opened(), KEY) as store:
            fill(store)
            before = contents(store)
            with pytest.raises(StoppedError):
                store.rekey(new, stopped_after(2))
        with with_encryption(opened(), KEY) as store:
            with pytest.raises(DecryptionError, match="being changed"):
                store.append("s0", Message("user", "x"))
            with pytest.raises(DecryptionError):
                store.rekey(bytes(24))
        for wrapped in (
            lambda: with_encryption(opened(), new),
            lambda: with_encryption(opened(), new, old_key=KEY),
        ):
            with wrapped() as store:
                assert contents(store) == before
        with with_encryption(opened(), new) as store:
            store.rekey(new)
            assert store.encryption()["state"] == "encrypted"
            assert contents(store) == before
            assert store.rekey(new).damaged == []

    @pytest.mark.parametrize("points", [12, pytest.param(0, marks=pytest.mark.soak)])
    @pytest.mark.parametrize("work", ["encrypt", "rekey"])
    @pytest.mark.parametrize("kind", PLACES)
    def test_killed(self, tmp_path, kind, work, points):
        """Killed at any write and run again, nothing is lost and nothing is left behind."""
        code = "import sys, tests.stores.rekey_killing as killing; killing.main(*sys.argv[1:])"
        assert int(run(code, tmp_path, kind, work, points, cwd=TOP)) > 100


WRITES = """
import sys
from omniagent_cli.stores import open_store, with_encryption
from omniagent_cli.models import Message
path, key, old, turns, number = *sys.argv[1:4], int(sys.argv[4]), sys.argv[5]
key, old = bytes.fromhex(key), bytes.fromhex(old) if old else None
with with_encryption(open_store(path, ttl=None), key, old_key=old) as store:
    print("ready", flush=True)
    for turn in range(turns):
        store.append("shared", Message("user", f"{number}.{turn} pademelon"))
        store.append(f"own-{number}-{turn % 5}", Message("user", f"{turn} pademelon"))
        if turn % 10 == 9:
            store.trim(f"own-{number}-0", 1)
            store.rename(f"own-{number}-1", f"own-{number}-x{turn}")
            assert store.messages("shared", last=3)
"""


def test_writers_go_on(placed, tmp_path):
    """Four processes write while the key is changed under them: nothing is lost, and all of it has the new key."""
    turns = 60
    with with_encryption(placed(), KEY) as store:
        fill(store, sessions=20, messages=30)
        store.append("shared", Message("user", "pademelon"))
        writers = [
            start(WRITES, store.path, OTHER.hex(), KEY.hex(), turns, number) for number in range(4)
        ]
        for process in writers:
            assert process.stdout.readline() == "ready\n"
        store.rekey(OTHER)
        for process in writers:
            finish(process)
    with with_encryption(placed(), OTHER) as store:
        texts = {m.text for m in store.iter_messages("shared")}
        assert texts == {"pademelon"} | {
            f"{n}.{t} pademelon" for n in range(4) for t in range(turns)
        }
        assert store.check() == []
        assert len(contents(store)[0]) >= 20
    assert readable(tmp_path) == []


def test_writers_without_the_key_are_refused_at_once(placed):
    """From the first moment of an encryption on, nobody adds plain text, also who had the store open."""
    refused = threading.Event()
    with placed() as store, placed() as other:
        fill(store)
        other.append("s0", Message("user", "pademelon"))

        def progress(_count):
            with pytest.raises(EncryptedStore):
                other.append("s0", Message("user", "plain"))
            refused.set()

        store.encrypt(KEY, progress)
    assert refused.is_set()


def test_mark_cannot_be_changed_without_the_key(placed, tmp_path):
    """Who has no key cannot tell the store that plain messages are welcome."""
    from omniagent_cli.stores.encryption.manifest import read_manifest, write_manifest

    with with_encryption(placed(), KEY) as store:
        fill(store)
        mark = read_manifest(store.transact(lambda tx: tx.encryption(), write=False))
    with placed() as store:
        changed = write_manifest({**mark, "state": "encrypting"})
        store.transact(lambda tx: tx.put_meta("encryption", changed), write=True)
    with with_encryption(placed(), KEY) as store:
        with pytest.raises(DecryptionError, match="changed without the key"):
            store.append("s0", Message("user", "x"))
        with pytest.raises(DecryptionError, match="'s0'"):
            store.get("s0")
    with placed() as store:
        store.transact(lambda tx: tx.put_meta("encryption", b"nonsense"), write=True)
    with with_encryption(placed(), KEY) as store, pytest.raises(StoreCorrupt):
        store.append("s0", Message("user", "x"))
