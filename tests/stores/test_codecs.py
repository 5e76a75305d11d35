"""Compressed and encrypted payloads: what opens them, what does not, and what each attack is told as."""

import os
import sqlite3
import zlib
from base64 import b64encode
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omniagent_cli.errors import (
    ConfigError,
    CorruptSession,
    DecryptionError,
    EncryptedStore,
    NewerVersion,
)
from omniagent_cli.models import Message
from omniagent_cli.stores import Passphrase, open_store, with_compression, with_encryption
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.encryption.cipher import parse_key
from omniagent_cli.stores.encryption.codec import MAX_PAYLOAD_BYTES, PayloadCodec

from .secret_places import BACKENDS, KEY, OTHER, PLACES

LONG = "the same words again and again " * 20


@pytest.fixture(params=BACKENDS)
def backend(request, tmp_path):
    store = BACKENDS[request.param](tmp_path, ttl=None)
    yield store
    store.close()


@pytest.fixture
def store(backend):
    """An encrypted store with two sessions of three messages each."""
    with_encryption(backend, KEY)
    for name in ("a", "b"):
        backend.append(name, [Message("user", f"{name}{n}", id=f"m{n}") for n in range(3)])
        backend.put_attachment(name, "a" * 64, {"name": name})
        backend.put_attachment(name, "b" * 64, {"name": name * 2})
    return backend


def rows(store, name):
    uid = store.header(name).uid
    return store.transact(lambda tx: list(tx.rows(uid)), write=False)


def put_row(store, name, row):
    def work(tx):
        header = tx.find(name)
        tx.replace(header.uid, row, None)
        tx.put(header)

    store.transact(work, write=True)


def header_of(store, name):
    return store.transact(lambda tx: tx.find(name), write=False)


def put_header(store, header):
    def work(tx):
        header.revision = tx.find_uid(header.uid).revision + 1
        tx.put(header)

    store.transact(work, write=True)


def put_attachment(store, name, payload):
    def work(tx):
        header = tx.find(name)
        tx.put_record(header.uid, "attachment", "a" * 64, payload)
        tx.put(header)

    store.transact(work, write=True)


def payloads(store):
    """Return every payload of a store, by what it is of."""

    def work(tx):
        found = {}
        for name in ("a", "b"):
            header = tx.find(name)
            found[name, "header"], found[name, "preview"] = header.payload, header.preview
            for row in tx.rows(header.uid):
                found[name, row.position] = row.payload
            for key, payload in tx.records(header.uid, "attachment"):
                found[name, key] = payload
        return found

    return store.transact(work, write=False)


def test_everything_is_encrypted(store):
    """Messages, header, preview and records are envelopes of the key; each has a nonce of its own."""
    found = payloads(store)
    assert len(found) == 14
    start = b"\x00\x01" + bytes.fromhex(store.encryption()["key_id"])
    assert {payload[:6] for payload in found.values()} == {start}
    assert len({payload[6:18] for payload in found.values()}) == len(found)


def test_nonces_are_never_reused():
    """Of thousands of payloads, also equal ones written again, none shares its nonce with another."""
    with with_encryption(MemoryStore(), KEY) as store:
        for _ in range(20):
            store.append("s", [Message("user", "same")] * 100)
        nonces = {row.payload[6:18] for row in rows(store, "s")}
        assert len(nonces) == 2000


def test_swapped_between_positions(store):
    """A message that was put in the place of another of its session does not open."""
    first, second, _ = rows(store, "a")
    put_row(store, "a", first._replace(payload=second.payload))
    with pytest.raises(DecryptionError, match=r"'a'.*changed, moved or swapped") as caught:
        store.messages("a")
    assert caught.value.session_id == "a"
    assert [m.text for m in store.messages("b")] == ["b0", "b1", "b2"]


def test_moved_with_its_message_id(store):
    """Nor one that took its message id along to another position."""
    first, second, _ = rows(store, "a")
    put_row(store, "a", first._replace(payload=second.payload, id=second.id))
    with pytest.raises(DecryptionError, match="'a'"):
        store.get("a")


def test_swapped_between_sessions(store):
    """A message, header, preview or attachment of another session does not open, with all its ids equal."""
    before = rows(store, "a")[1]
    put_row(store, "a", rows(store, "b")[1])
    with pytest.raises(DecryptionError, match="'a'"):
        store.messages("a")
    put_row(store, "a", before)
    assert store.messages("a")
    own, other = header_of(store, "a"), header_of(store, "b")
    for changed in (
        replace(own, payload=other.payload),
        replace(own, preview=other.preview),
    ):
        put_header(store, changed)
        with pytest.raises(DecryptionError, match="'a'"):
            store.list()
    put_header(store, own)
    assert len(store.list()) == 2
    found = payloads(store)
    for stranger in (found["b", "a" * 64], found["a", "b" * 64]):
        put_attachment(store, "a", stranger)
        with pytest.raises(DecryptionError, match="'a'"):
            store.attachment("a", "a" * 64)


def test_rename_writes_one_record_anew(store):
    """A header opens under its own id alone; a rename encrypts it anew and nothing else."""
    before = payloads(store)
    own = header_of(store, "a")
    store.rename("a", "c")
    store.rename("c", "a")
    after = payloads(store)
    assert {place for place in before if before[place] != after[place]} == {("a", "header")}
    put_header(store, replace(own, id="x", payload=header_of(store, "a").payload))
    with pytest.raises(DecryptionError, match="'x'"):
        store.get("x")


@pytest.mark.parametrize("compress", [False, True])
def test_every_byte_counts(backend, compress):
    """One changed byte anywhere in an envelope is told, by an error that names the session."""
    if compress:
        with_compression(backend)
    with with_encryption(backend, KEY) as store:
        store.append("a", Message("user", LONG if compress else "short"))
        (row,) = rows(store, "a")
        for place in range(len(row.payload)):
            data = bytearray(row.payload)
            data[place] ^= 0x41
            put_row(store, "a", row._replace(payload=bytes(data)))
            kind = NewerVersion if place == 1 else DecryptionError
            with pytest.raises(kind, match="'a'"):
                store.messages("a")
        put_row(store, "a", row)
        assert len(store.messages("a")) == 1


def test_cut_short(store):
    """A payload of any shorter length is told, down to none at all."""
    row, *_ = rows(store, "a")
    for length in range(len(row.payload)):
        put_row(store, "a", row._replace(payload=row.payload[:length]))
        with pytest.raises(DecryptionError, match="'a'"):
            store.messages("a")
    put_row(store, "a", row._replace(payload=row.payload + b"x"))
    with pytest.raises(DecryptionError, match="'a'"):
        store.messages("a")


def test_downgraded(store):
    """A plain or merely compressed payload in an encrypted store is not taken for ours."""
    plain = b'{"content":"send the money to me"}'
    row, *_ = rows(store, "a")
    for payload in (plain, b"\x01" + zlib.compress(plain)):
        put_row(store, "a", row._replace(payload=payload))
        with pytest.raises(DecryptionError, match=r"'a'.*is not encrypted"):
            store.messages("a")
        with pytest.raises(DecryptionError, match="'a'"):
            store.search("money")
    put_row(store, "a", row)
    put_header(store, replace(header_of(store, "a"), payload=b'{"title":"mine"}'))
    with pytest.raises(DecryptionError, match="'a'"):
        store.get("a")


def test_emptied_header(tmp_path):
    """A header whose content was taken out is not read as one without title and metadata."""
    with with_encryption(PLACES["sqlite"](tmp_path), KEY) as store:
        store.append("a", Message("user", "x"))
        with closing(sqlite3.connect(store.path)) as connection:
            connection.execute("UPDATE sessions SET payload = x''")
            connection.commit()
        with pytest.raises(DecryptionError, match="'a'"):
            store.get("a")


def test_future_envelope(store):
    """An envelope of a version that is not known asks for an update, naming the session."""
    row, *_ = rows(store, "a")
    put_row(store, "a", row._replace(payload=b"\x00\x02" + row.payload[2:]))
    with pytest.raises(NewerVersion, match=r"'a'.*update omniagent"):
        store.messages("a")


def test_future_mark(store):
    """A store that a newer version encrypted asks for an update."""
    from omniagent_cli.json_format import dump

    mark = dump({"version": 2, "key_id": "what"})
    store.transact(lambda tx: tx.put_meta("encryption", mark), write=True)
    for attempt in (
        lambda: store.get("a"),
        lambda: store.append("a", Message("user", "x")),
        store.encryption,
    ):
        with pytest.raises(NewerVersion, match="update omniagent"):
            attempt()


def test_decompression_bomb():
    """A payload that unpacks to more than any has is refused, encrypted or not, without unpacking all of it."""
    packer = zlib.compressobj()
    chunk = bytes(1 << 20)
    packed = b"".join(packer.compress(chunk) for _ in range((MAX_PAYLOAD_BYTES >> 20) + 16))
    bomb = b"\x01" + packed + packer.flush()
    assert len(bomb) < 1 << 20
    with MemoryStore() as store:
        store.append("a", Message("user", "x"))
        (row,) = rows(store, "a")
        put_row(store, "a", row._replace(payload=bomb))
        with pytest.raises(CorruptSession, match=r"'a'.*is larger than 256 MiB"):
            store.messages("a")


def test_damaged_compression(backend):
    """A compressed payload that was cut or changed is told, naming the session."""
    with with_compression(backend) as store:
        store.append("a", Message("user", LONG))
        (row,) = rows(store, "a")
        for payload in (row.payload[:-9], row.payload[:20] + b"??" + row.payload[22:], b"\x01"):
            put_row(store, "a", row._replace(payload=payload))
            with pytest.raises(CorruptSession, match="'a'"):
                store.messages("a")


def test_wrong_key(store):
    """With another key each read names the session, nothing looks empty, and nothing is written."""
    with_encryption(store, OTHER)
    for attempt in (
        lambda: store.get("a"),
        lambda: store.messages("a", last=1),
        lambda: store.attachment("a", "a" * 64),
        lambda: store.summary("a"),
        lambda: store.search("a0", session_id="a"),
    ):
        with pytest.raises(DecryptionError, match=r"'a'.*another key") as caught:
            attempt()
        assert caught.value.session_id == "a"
    for attempt in (store.list, lambda: store.search("a0")):
        with pytest.raises(DecryptionError, match="another key"):
            attempt()
    for attempt in (
        lambda: store.append("a", Message("user", "x")),
        lambda: store.append("new", Message("user", "x")),
        lambda: store.set_title("a", "x"),
        lambda: store.delete("a"),
        store.check_key,
    ):
        with pytest.raises(DecryptionError, match="another key"):
            attempt()
    assert (store.count(), store.count_messages("a")) == (2, 3)
    with_encryption(store, KEY)
    assert [m.text for m in store.messages("a")] == ["a0", "a1", "a2"]


def test_no_key(store):
    """Without a key ids and counts are listed; content is refused, and tags cannot be looked for."""
    store.use_codec(PayloadCodec())
    assert [(s.id, s.message_count, s.title, s.preview) for s in store.list(sort="id")] == [
        ("a", 3, "", ""),
        ("b", 3, "", ""),
    ]
    for attempt in (
        lambda: store.get("a"),
        lambda: store.messages("a"),
        lambda: store.summary("a"),
        lambda: store.search("a0"),
        lambda: store.list(tags=["work"]),
        lambda: store.list(metadata={"k": 1}),
        lambda: store.append("new", Message("user", "x")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(EncryptedStore, match="give its key"):
            attempt()
    assert store.info()["encryption"] == "encrypted"
    asked = []
    store.ask_key = lambda: asked.append(1) or KEY
    assert store.messages("a")
    assert store.get("b")
    assert asked == [1]


@given(st.text('ab"\\/\n\t\x00{}:,é😀\ud800'))
def test_text_comes_back(text):
    """A text comes back unchanged, with or without characters that JSON escapes."""
    with MemoryStore() as store:
        store.append("s", [Message("user", text), Message("user", text, x=text)])
        assert [m.text for m in store.messages("s")] == [text, text]
        assert store.messages("s")[1].record["x"] == text


def test_a_plain_store_with_a_key_is_read_and_not_written(backend):
    """A plain store that has sessions is read with a key; each write names the command that encrypts it."""
    backend.append("a", Message("user", "x"))
    with_encryption(backend, KEY)
    attempts = (
        lambda: backend.append("a", Message("user", "y")),
        lambda: backend.append("new", Message("user", "y")),
        lambda: backend.set_title("a", "y"),
        lambda: backend.delete("a"),
    )
    for attempt in attempts:
        with pytest.raises(EncryptedStore, match=r"omniagent --store .* store encrypt"):
            attempt()
    assert backend.encryption() is None
    assert [m.text for m in backend.get("a").messages] == ["x"]
    assert [s.title for s in backend.list()] == ["x"]
    assert [hit.position for hit in backend.search("x")] == [0]
    backend.encrypt(KEY)
    backend.append("a", Message("user", "y"))
    assert [m.text for m in backend.messages("a")] == ["x", "y"]


def test_a_new_store_with_a_key_is_encrypted_once(backend):
    """The first write encrypts a new store and reports it; reading it before writes nothing."""
    reports = []
    with_encryption(backend, KEY)
    backend.on_encrypted = lambda: reports.append(backend.encryption()["state"])
    assert backend.list() == []
    assert (backend.encryption(), reports) == (None, [])
    for text in "xy":
        backend.append("a", Message("user", text))
    assert reports == ["encrypted"]


@pytest.mark.parametrize("size", [16, 24, 32])
def test_key_sizes(tmp_path, size):
    """Keys of each size of AES work, raw or as text; others are refused before anything is touched."""
    key = os.urandom(size)
    with open_store(tmp_path / "x.db", encrypt=key) as store:
        store.append("a", Message("user", "x"))
    for text in (key.hex(), key.hex().upper() + "\n", b64encode(key).decode()):
        with open_store(tmp_path / "x.db", encrypt=parse_key(text)) as store:
            assert store.messages("a")[0].text == "x"


@pytest.mark.parametrize("key", [b"", b"x" * 15, b"x" * 33, "x" * 32, 7, Passphrase("")])
def test_what_is_no_key(tmp_path, key):
    """What is no key is refused by name, and never printed."""
    with MemoryStore() as store, pytest.raises(ConfigError) as caught:
        with_encryption(store, key)
    assert "xxx" not in str(caught.value)
    with pytest.raises(ConfigError, match="empty"):
        parse_key(" \n")
    assert "secret" not in repr(Passphrase("secret"))


def test_passphrase(tmp_path):
    """A passphrase opens its store again by the salt kept there; two stores of one passphrase have two keys."""
    ids = set()
    for name in ("one", "two"):
        for _ in range(2):
            with open_store(tmp_path / name, encrypt=Passphrase("correct horse")) as store:
                store.append("a", Message("user", "x"))
                assert store.encryption()["passphrase"]
                ids.add(store.encryption()["key_id"])
        with (
            open_store(tmp_path / name, encrypt=Passphrase("wrong horse")) as store,
            pytest.raises(DecryptionError, match="'a'"),
        ):
            store.messages("a")
    assert len(ids) == 2
    with open_store(tmp_path / "raw", encrypt=KEY) as store:
        store.append("a", Message("user", "x"))
        assert not store.key_matches(Passphrase("correct horse"))
        assert store.key_matches(KEY)
        assert not store.key_matches(OTHER)


def test_nestings_are_the_same(tmp_path):
    """Compression around encryption, the reverse, and the options of open_store make one and the same store."""
    opens = (
        lambda: with_encryption(with_compression(open_store(tmp_path / "x.db")), KEY),
        lambda: with_compression(with_encryption(open_store(tmp_path / "x.db"), KEY)),
        lambda: open_store(tmp_path / "x.db", compress=True, encrypt=KEY),
    )
    for number, opened in enumerate(opens):
        with opened() as store:
            store.append("a", Message("user", LONG))
            assert [m.text for m in store.messages("a")] == [LONG] * (number + 1)
            assert len(rows(store, "a")[number].payload) < 150, "compressed, then encrypted"
    with open_store(tmp_path / "x.db") as store, pytest.raises(EncryptedStore):
        store.get("a")


def test_compressed_only_where_it_shrinks(backend):
    """What is short, or does not shrink, is stored as it is."""
    noise = b64encode(os.urandom(3000)).decode()
    with with_compression(backend) as store:
        store.append("a", [Message("user", text) for text in ("short", LONG, noise)])
        short, long, random = (row.payload for row in rows(store, "a"))
        assert short == b'{"content":"short"}'
        assert long[:1] == b"\x01"
        assert len(long) < len(LONG) / 5
        assert len(random) <= len(noise) + len(b'{"content":""}')
        assert [m.text for m in store.messages("a")] == ["short", LONG, noise]


def test_old_and_new_mixed(backend):
    """Plain and compressed payloads live side by side, and are read with and without the wrapper."""
    backend.append("a", Message("user", LONG))
    with_compression(backend)
    backend.append("a", Message("user", LONG))
    for _ in range(2):
        assert [m.text for m in backend.messages("a")] == [LONG, LONG]
        assert len(backend.search("again")) == 2
        assert [row.payload[:1] for row in rows(backend, "a")] == [b"{", b"\x01"]
        backend.use_codec(PayloadCodec())
