"""What the Redis store promises beside the contract: keys, expiry, damage, crowds, crashes and clusters."""

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis

from omniagent_cli.errors import (
    ConfigError,
    CorruptSession,
    NewerVersion,
    NotOurStore,
    SessionExpired,
    SessionNotFound,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnreachable,
)
from omniagent_cli.masking import mask_url
from omniagent_cli.models import Message, Session
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.redis.scripts import LOOK
from omniagent_cli.stores.backends.redis.store import RedisStore
from omniagent_cli.testing import FakeClock
from tests.servers.guardian import GUARDIAN
from tests.servers.ports import refusing_port
from tests.stores.place import start, together
from tests.stores.redis_server import RedisServer, place_url


@pytest.fixture
def url(tmp_path):
    return place_url(tmp_path)


@pytest.fixture
def store(url):
    with RedisStore(url) as store:
        yield store


@pytest.fixture
def bare(url):
    with redis.Redis.from_url(url.partition("?")[0]) as client:
        yield client


@pytest.fixture
def server():
    server = RedisServer()
    yield server
    server.stop()


def keys(bare, url):
    """Return all keys of a store."""
    prefix = url.partition("prefix=")[2]
    return sorted(bare.scan_iter(match=f"{prefix}*"))


def session_keys(bare, url):
    return [key for key in keys(bare, url) if b"{store}" not in key]


def messages_of(*texts):
    return [Message("user", text) for text in texts]


# Keys.


def test_one_hash_tag_per_session(store, bare, url):
    """Every key of a session has the same hash tag, whatever its id is, and every other key that of the store."""
    for session_id in ("plain", "{other}", "a*b:c", "quote\"'", "šč 日本 🎉"):
        uid = store.write(session_id, messages_of("a")).uid
        store.put_attachment(session_id, "a" * 64, {"name": "x"})
        own = [key for key in keys(bare, url) if f"{{{uid}}}".encode() in key]
        assert len(own) == 3
        assert all(key.count(b"{") == key.count(b"}") == 1 for key in own)
    assert all(b"{store}" in key for key in keys(bare, url) if key not in session_keys(bare, url))
    assert len(session_keys(bare, url)) == 15


def test_two_prefixes_never_see_each_other(url, bare):
    """Stores on one server with different prefixes are apart, also where one prefix begins another."""
    with RedisStore(url) as one, RedisStore(f"{url}x:") as two, RedisStore(url + "*") as three:
        one.append("s", messages_of("apple"))
        two.append("s", messages_of("pear"))
        two.append("t", messages_of("plum"))
        assert [s.id for s in one.list()] == ["s"]
        assert one.get("s").messages[0].text == "apple"
        assert three.list() == []
        assert one.search("pear") == []
        one.delete("s")
        one.empty_trash()
        one.transact(
            lambda tx: tx.find_uid("journal") and tx.remove("journal"), write=True
        )  # it remembers the deletion
        assert one.check() == two.check() == three.check() == []
        assert two.get("s").messages[0].text == "pear"
        assert session_keys(bare, url) == session_keys(bare, f"{url}x:")


@pytest.mark.parametrize("prefix", ["", "a{b", "a}", "a\n"])
def test_a_prefix_that_would_mix_up_tags_is_refused(prefix):
    """Braces in a prefix would take the place of the session's tag."""
    with pytest.raises(ConfigError, match="prefix"):
        RedisStore("redis://localhost", prefix=prefix)


def test_keys_is_never_used(server):
    """No operation asks the server for KEYS."""
    with RedisStore(server.url) as store:
        store.append("s", messages_of("a", "b"))
        store.list(prefix="s")
        store.search("a")
        store.trim("s", 1)
        store.check(repair=True)
        store.purge_expired()
        store.info()
    with server.client() as client:
        assert "cmdstat_keys" not in client.info("commandstats")


def test_removed_leaves_nothing(store, bare, url):
    """A purged session leaves no key and no place in a list."""
    before = session_keys(bare, url)
    store.append("s", messages_of("a"))
    store.put_attachment("s", "a" * 64, {"name": "x"})
    store.set_ttl("s", "1h")
    store.delete("s", purge=True)
    store.transact(
        lambda tx: tx.find_uid("journal") and tx.remove("journal"), write=True
    )  # it remembers the deletion
    assert session_keys(bare, url) == before == []
    assert [key.rpartition(b":")[2] for key in keys(bare, url)] == [b"meta"]


# Where it is.


def test_the_password_is_never_told(server):
    """Neither the URL of a store nor its errors hold a password, wherever it was given."""
    with server.client() as client:
        client.config_set("requirepass", "s3cr3t")
    place = f"127.0.0.1:{server.port}"
    for url, options in (
        (f"redis://:wr0ng-s3cr3t@{place}/0", {}),
        (f"redis://me:wr0ng-s3cr3t@{place}", {}),
        (f"redis://{place}?password=wr0ng-s3cr3t", {}),
        (f"redis://{place}", {"password": "wr0ng-s3cr3t"}),
        (f"redis://{place}", {}),
    ):
        with RedisStore(url, **options) as store:
            assert "s3cr3t" not in repr(store) + store.url
            with pytest.raises(StoreUnreachable, match="password") as caught:
                store.list()
            assert "s3cr3t" not in str(caught.value)
    with RedisStore(f"redis://:s3cr3t@{place}") as store:
        assert store.list() == []
    with pytest.raises(ConfigError) as refused:
        RedisStore(f"redis://me:s3cr3t@{place}/0?nonsense=1")
    assert "s3cr3t" not in str(refused.value)
    with pytest.raises(ConfigError) as refused:
        RedisStore(f"redis://me:s3cr3t@{place}/db")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:s3cr3t@h",
        "redis://u:a@s3cr3t@h/0",
        "redis://:s3cr3t@h",
        "redis://h?password=s3cr3t&db=1",
        "redis://h/0?token=s3cr3t",
        "postgresql://h/db?sslpassword=s3cr3t",
    ],
)
def test_redacted_knows_every_place_of_a_password(url):
    """Messages about a URL that was not opened do not tell its password either."""
    assert "s3cr3t" not in mask_url(url)
    assert "h" in mask_url(url)


def test_parts_instead_of_a_url(server):
    """Host, port and database can be given as parameters."""
    parts = {"host": "127.0.0.1", "port": server.port, "db": 3}
    with RedisStore(**parts) as store, open_store("redis://", **parts, prefix="p:") as other:
        store.append("s", messages_of("a"))
        assert store.url == f"redis://127.0.0.1:{server.port}/3"
        assert other.url == f"redis://127.0.0.1:{server.port}/3?prefix=p:"
        assert other.list() == []
    with RedisStore(f"redis://127.0.0.1:{server.port}/3") as store:
        assert store.exists("s")


def test_a_unix_socket(tmp_path):
    """A server on this machine can be reached by a socket in the file system."""
    path = (
        f"{GUARDIAN.make_directory('redis-')}/redis.sock"  # tmp_path may be too long for a socket
    )
    server = RedisServer("--unixsocket", path)
    try:
        with open_store(f"redis://?unix_socket_path={path}") as store:
            store.append("s", messages_of("a"))
            assert store.url == f"unix://{path}"
        with RedisStore(server.url) as store:
            assert store.exists("s")
    finally:
        server.stop()


def test_nobody_answers():
    """A server that is not there is told as that, and never as an empty store."""
    with refusing_port() as port, RedisStore(f"redis://127.0.0.1:{port}") as store:
        for call in (
            store.list,
            lambda: store.get("s"),
            lambda: store.append("s", messages_of("a")),
        ):
            with pytest.raises(StoreUnreachable, match="cannot be reached"):
                call()


def test_a_server_that_hangs(server):
    """A read from a silent server ends at the time-out; an append says that its outcome is unknown, and happens once."""
    with RedisStore(f"{server.url}?socket_timeout=0.05") as store:
        store.append("s", messages_of("a"))
        with server.stopped():
            with pytest.raises(StoreUnreachable, match="check if the change was stored"):
                store.append("s", messages_of("b"))
            with pytest.raises(StoreUnreachable, match="timed out"):
                store.messages("s")
        store.append("s", messages_of("c"))
        assert [m.text for m in store.messages("s")] == ["a", "b", "c"]


def test_info_tells_how_the_server_keeps_data(server):
    """`info` shows what decides whether an acknowledged write is kept, and warns."""
    with RedisStore(server.url) as store, server.client() as client:
        facts = store.info()
        assert facts["redis_version"] == client.info()["redis_version"]
        assert (facts["appendonly"], facts["appendfsync"]) == ("yes", "always")
        assert (facts["maxmemory_policy"], facts["warnings"]) == ("noeviction", [])
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert len(store.info()["warnings"]) == 2
        client.acl_setuser("default", commands=["-config"])
        facts = store.info()
        assert facts["appendonly"] == facts["maxmemory_policy"] == "unknown"
        assert facts["sessions"] == 0


# Time.


def test_all_keys_of_a_session_expire_together(store, bare, url):
    """Messages, header and attachments have one time to live, restarted by every write and taken away by never."""

    def rest():
        return [bare.pttl(key) for key in session_keys(bare, url)]

    store.append("s", messages_of("a"))
    store.put_attachment("s", "a" * 64, {"name": "x"})
    store.set_ttl("s", "1h")
    assert len(rest()) == 3
    assert max(rest()) - min(rest()) < 1000
    assert all(3_600_000 - 10_000 < one <= 3_660_000 for one in rest())
    store.set_ttl("s", "1d")
    store.append("s", messages_of("b"))
    assert min(rest()) > 86_000_000
    store.set_ttl("s", None)
    assert rest() == [-1, -1, -1]


def test_the_servers_clock_decides(store, bare):
    """Times come from the server, not from this machine."""
    store.append("s", messages_of("a"))
    seconds, microseconds = bare.time()
    server_time = datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)
    assert abs((store.get("s").updated_at - server_time).total_seconds()) < 5


def test_removed_by_the_server_is_known_as_expired(url, store, bare):
    """What the server let expire is told as expired, is counted, listed nowhere, and can be written afresh."""
    uid = store.write("s", messages_of("old")).uid
    store.set_ttl("s", 0.001)
    for key in session_keys(bare, url):
        bare.pexpireat(key, 1)
    assert session_keys(bare, url) == []
    with pytest.raises(SessionExpired):
        store.get("s")
    with RedisStore(url) as other:
        with pytest.raises(SessionExpired):
            other.get("s")
        assert other.list() == []
        assert other.count_expired() == 1
        assert other.check() == []
        again = other.write("s", messages_of("new"))
        assert (again.expired, again.created) == (True, True)
        assert again.uid != uid
        assert other.count_expired() == 0
        assert [m.text for m in other.messages("s")] == ["new"]


def test_purge_forgets_what_the_server_removed(store, bare, url):
    """`purge_expired` counts what the server removed and takes it out of the lists."""
    store.append("s", messages_of("old"))
    store.set_ttl("s", 0.001)
    for key in session_keys(bare, url):
        bare.pexpireat(key, 1)
    assert store.purge_expired() == 1
    assert store.count_expired() == 0
    with pytest.raises(SessionNotFound) as caught:
        store.get("s")
    assert not isinstance(caught.value, SessionExpired)
    assert [key.rpartition(b":")[2] for key in keys(bare, url)] == [b"meta"]


def test_the_lists_forget_what_expired_long_ago(store, bare, url):
    """New sessions clear the lists of those that the server removed more than a day ago."""
    with RedisStore(url, clock=FakeClock(), ttl="1h") as old:
        for number in range(3):
            old.append(f"s{number}", messages_of("a"))
    for key in session_keys(bare, url):
        bare.pexpireat(key, 1)
    store.append("t", messages_of("a"))
    store.append("u", messages_of("a"))
    assert store.count_expired() == 0
    prefix = url.partition("prefix=")[2]
    assert bare.hlen(f"{prefix}{{store}}:entries") == bare.hlen(f"{prefix}{{store}}:ids") == 2


# Damage.


def test_evicted_messages_are_damage(store, bare, url):
    """A session whose messages the server evicted is corrupt: never empty, never written on."""
    uid = store.write("s", messages_of("a", "b")).uid
    bare.delete(next(key for key in session_keys(bare, url) if key.endswith(b":m")))
    for call in (
        lambda: store.get("s"),
        lambda: store.messages("s", last=1),
        lambda: store.append("s", messages_of("c")),
        lambda: store.search("a"),
        lambda: RedisStore(url).get("s"),
    ):
        with pytest.raises(CorruptSession, match="evicted") as caught:
            call()
        assert caught.value.session_id == "s"
    assert [s.id for s in store.list()] == ["s"]
    assert store.check()[0].session_id == "s"
    assert store.session("s").id == "s"
    assert uid
    assert store.delete("s") is True


def test_an_evicted_header_is_damage(store, bare, url):
    """A session whose header is gone is corrupt, not missing; its messages are found by a repair."""
    store.append("s", messages_of("a", "b"))
    bare.delete(next(key for key in session_keys(bare, url) if key.endswith(b":h")))
    for call in (lambda: store.get("s"), lambda: store.append("s", messages_of("c"))):
        with pytest.raises(CorruptSession, match="header is missing"):
            call()
    assert [s.id for s in store.list()] == ["s"]
    found = store.check(repair=True)
    assert found.copied_to
    assert store.check() == []
    assert [m.text for m in store.messages("s")] == ["a", "b"]
    store.append("s", messages_of("c"))
    assert store.summary("s").message_count == 3


def test_evicted_attachments_are_damage(store, bare, url):
    """Attachments that are gone are not taken for none."""
    store.append("s", messages_of("a"))
    store.put_attachment("s", "a" * 64, {"name": "x"})
    bare.delete(next(key for key in session_keys(bare, url) if key.endswith(b":r")))
    for call in (lambda: store.attachments("s"), lambda: store.attachment("s", "a" * 64)):
        with pytest.raises(CorruptSession, match="attachments"):
            call()


def test_lists_are_made_anew_by_a_repair(store, bare, url):
    """Sessions that no list shows, because the server evicted the lists, are found again by a repair."""
    store.append("s", messages_of("a"))
    store.append("t", messages_of("b"))
    store.set_metadata("t", "pinned", True)
    for key in keys(bare, url):
        if b"{store}" in key and not key.endswith(b":meta"):
            bare.delete(key)
    assert store.list() == []
    assert len(store.check()) == 2
    assert all(problem.repaired for problem in store.check(repair=True))
    assert [s.id for s in store.list()] == ["t", "s"]
    assert store.check() == []


def test_bytes_that_are_not_ours(store, bare, url):
    """Damaged bytes of a header or a message are told with what to do, never guessed."""
    store.append("s", messages_of("a"))
    name = next(key for key in session_keys(bare, url) if key.endswith(b":m"))
    bare.zadd(name, {b"nonsense": 1})
    with pytest.raises(CorruptSession):
        store.get("s")
    header = next(key for key in session_keys(bare, url) if key.endswith(b":h"))
    bare.hset(header, "h", b"[1, 2")
    with pytest.raises(CorruptSession):
        store.get("s")


def test_keys_of_another_program(bare, url):
    """Keys of another type under our prefix are told as not ours."""
    prefix = url.partition("prefix=")[2]
    bare.set(f"{prefix}{{store}}:meta", "theirs")
    with RedisStore(url) as store:
        for call in (store.list, lambda: store.append("s", messages_of("a"))):
            with pytest.raises(NotOurStore, match="prefix"):
                call()


def test_a_newer_format(store, bare, url):
    """A store that a newer omniagent wrote is refused, also by a process that has it open."""
    store.append("s", messages_of("a"))
    bare.hset(f"{url.partition('prefix=')[2]}{{store}}:meta", "format", "3")
    with pytest.raises(NewerVersion, match="newer omniagent"):
        store.append("s", messages_of("b"))
    with RedisStore(url) as other, pytest.raises(NewerVersion):
        other.list()


def test_format_1_is_read_and_raised(bare, url):
    """Headers of format 1 lack the time of the last change; the first write raises the format."""
    with RedisStore(url, clock=FakeClock()) as store:
        store.append("s", messages_of("a"))
    meta = f"{url.partition('prefix=')[2]}{{store}}:meta"
    header = next(key for key in session_keys(bare, url) if key.endswith(b":h"))
    bare.hset(header, "h", json.dumps(json.loads(bare.hget(header, "h"))[:-1]))
    bare.hset(meta, "format", "1")
    clock = FakeClock()
    with RedisStore(url, clock=clock) as store:
        assert store.summary("s").modified_at == clock.now
        assert bare.hget(meta, "format") == b"1"
        clock.advance("1h")
        store.tag("s", ["work"])
        summary = store.summary("s")
        assert summary.modified_at - summary.updated_at == timedelta(hours=1)
    assert bare.hget(meta, "format") == b"2"


# Servers in trouble.


def test_out_of_memory(server):
    """A full server is told as full, nothing is half done, and it goes on when there is room."""
    with RedisStore(server.url) as store, server.client() as client:
        store.append("s", messages_of("a"))
        before = store.get("s")
        client.config_set("maxmemory", "1")
        for call in (
            lambda: store.append("s", messages_of("b")),
            lambda: store.append("t", messages_of("b")),
        ):
            with pytest.raises(StoreFull, match="memory"):
                call()
        assert store.get("s") == before
        assert store.delete("nothing") is False
        client.config_set("maxmemory", "0")
        store.append("s", messages_of("b"))
        assert store.check() == []


def test_a_read_only_replica(server):
    """A replica can be read, and says that it is one when it is written to."""
    with RedisStore(server.url) as store:
        store.append("s", messages_of("a"))
    replica = RedisServer("--replicaof", "127.0.0.1", str(server.port))
    try:
        with server.client() as client:
            client.wait(1, 5000)
        with RedisStore(replica.url) as store:
            assert [m.text for m in store.messages("s")] == ["a"]
            with pytest.raises(StoreReadOnly, match="replica"):
                store.append("s", messages_of("b"))
    finally:
        replica.stop()


def test_read_only_on_request(store, url, bare):
    """A store opened for reading only reads, and makes nothing."""
    with open_store(url, read_only=True) as reader:
        assert reader.list() == []
        with pytest.raises(StoreReadOnly):
            reader.append("s", messages_of("a"))
        assert keys(bare, url) == []
        store.append("s", messages_of("a"))
        assert reader.exists("s")


def test_a_server_that_forgot_the_scripts(store, bare):
    """Scripts are sent again to a server that lost them."""
    store.append("s", messages_of("a"))
    bare.script_flush()
    store.append("s", messages_of("b"))
    assert len(store.messages("s")) == 2
    assert bare.script_exists(__import__("hashlib").sha1(LOOK.encode()).hexdigest()) == [True]


def test_killed_and_started_again(server):
    """The call meanwhile says that nobody answers, nothing acknowledged is lost, and the next call works."""
    with RedisStore(server.url) as store:
        store.append("s", messages_of("a", "b"))
        server.kill()
        with pytest.raises(StoreUnreachable):
            store.append("s", messages_of("lost"))
        with pytest.raises(StoreUnreachable):
            store.messages("s")
        server.start()
        store.append("s", messages_of("c"))
        assert [m.text for m in store.messages("s")] == ["a", "b", "c"]


_WRITER = """
import sys
from omniagent_cli.errors import StoreUnreachable
from omniagent_cli.stores import open_store
url, number = sys.argv[1:]
kept = []
with open_store(url) as store:
    for turn in range(int({turns})):
        try:
            store.append("s", [{{"role": "user", "content": f"{{number}}.{{turn}}.{{half}}"}} for half in "ab"])
        except StoreUnreachable:
            if not {patient}: raise
            continue
        kept.append(turn)
        if {patient}: print(turn, flush=True)
if not {patient}: print(*kept)
"""


def test_sixteen_processes_lose_nothing(store, url):
    """16 processes appending to one session: every message is there, once, in the order of each writer."""
    turns = 15
    together(_WRITER.format(turns=turns, patient=False), 16, url)
    texts = [m.text for m in store.messages("s")]
    assert len(texts) == 16 * turns * 2
    assert [m.position for m in store.messages("s")] == list(range(len(texts)))
    for number in range(16):
        own = [text for text in texts if text.startswith(f"{number}.")]
        assert own == [f"{number}.{turn}.{half}" for turn in range(turns) for half in "ab"]
    assert texts[1::2] == [text[:-1] + "b" for text in texts[::2]]
    assert store.check() == []


def test_a_crash_loses_nothing_acknowledged(server):
    """A server killed while others write: what was acknowledged is there afterwards, whole."""
    code = _WRITER.format(turns=100_000, patient=True)
    writers = [start(code, server.url, number) for number in range(2)]
    told = [[], []]
    for _ in range(20):
        for number, writer in enumerate(writers):
            told[number].append(int(writer.stdout.readline()))
    server.kill()
    server.start()
    for number, writer in enumerate(writers):
        told[number].append(int(writer.stdout.readline()))
        writer.kill()
        told[number] += map(int, writer.stdout.read().split("\n")[:-1])
        writer.stdout.close()
        writer.stderr.close()
        writer.wait()
    with RedisStore(server.url) as store:
        texts = [m.text for m in store.messages("s")]
        for number in range(2):
            for turn in told[number]:
                assert texts.count(f"{number}.{turn}.a") == texts.count(f"{number}.{turn}.b") == 1
        assert store.check() == []


def test_a_purge_leaves_nothing_in_the_servers_file(server):
    """What is purged goes from the append-only file too, when the server has written it anew."""
    with RedisStore(server.url) as store, server.client() as client:
        store.append("s", messages_of("verysecret"))
        assert b"verysecret" in server.files()
        store.delete("s", purge=True)
        assert b"verysecret" not in server.files()
        store.append("s", messages_of("verysecret"))
        client.acl_setuser("default", commands=["-bgrewriteaof"])
        with pytest.raises(StoreLocked, match="append-only file"):
            store.delete("s", purge=True)
        assert not store.exists("s")


def test_a_fork_of_the_process(store):
    """A store that was open before a fork works on both sides of it."""
    store.append("s", messages_of("parent"))
    if (child := os.fork()) == 0:
        try:
            store.append("s", messages_of("child"))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    store.append("s", messages_of("after"))
    assert [m.text for m in store.messages("s")] == ["parent", "child", "after"]


def test_a_session_that_is_held_too_long_is_told(store, bare, url, monkeypatch):
    """A writer that cannot get its turn says that the session is busy."""
    monkeypatch.setattr("omniagent_cli.stores.backends.redis.store._PATIENCE_SECONDS", 0.05)
    store.append("s", messages_of("a"))
    header = next(key for key in session_keys(bare, url) if key.endswith(b":h"))
    bare.hset(header, mapping={"t": "somebody", "u": 10**13})
    with pytest.raises(StoreLocked, match="same session"):
        store.append("s", messages_of("b"))
    bare.hset(header, "u", 1)
    store.append("s", messages_of("b"))
    assert len(store.messages("s")) == 2


# What memory of headers must not do.


def test_what_others_did_is_seen_at_once(url):
    """A handle that remembers a header notices a rename, a removal, and another session of the same name."""
    with RedisStore(url) as one, RedisStore(url) as two:
        one.append("s", messages_of("a"))
        two.rename("s", "t")
        one.append("s", messages_of("b"))
        assert [m.text for m in one.messages("t")] == ["a"]
        assert [m.text for m in two.messages("s")] == ["b"]
        one.append("s", messages_of("c"))
        two.delete("s", purge=True)
        one.fork("t", "s")
        two.delete("s")
        one.rename("t", "s")
        two.append("s", messages_of("d"))
        one.append("s", messages_of("e"))
        assert [m.text for m in two.messages("s")] == ["a", "d", "e"]


def test_a_large_session_is_sent_in_parts(store, bare, url):
    """Copying a session with many messages shows it whole, and sends no giant command."""
    session = Session("big")
    uid = store.stage(session)
    for part in range(5):
        store.stage_messages(uid, [Message("user", f"{part}.{n}") for n in range(900)])
    store.publish(uid, session)
    store.fork("big", "copy")
    assert [m.text for m in store.messages("copy")] == [m.text for m in store.messages("big")]
    assert len(session_keys(bare, url)) == 4
    assert all(bare.pttl(key) == -1 for key in session_keys(bare, url))


def test_readers_beside_a_writer(store):
    """A session that is read while it grows is never empty and never has a gap."""
    store.append("s", messages_of("0"))
    done = threading.Event()

    def write():
        for number in range(1, 60):
            store.append("s", messages_of(str(number)))
            if number % 20 == 0:
                store.trim("s", 10)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        numbers = [int(m.text) for m in store.get("s").messages]
        assert numbers
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
    writer.join()


# Clusters.


@pytest.fixture(scope="module")
def cluster():
    """Start a cluster of one node, which refuses what mixes hash tags just as a larger one does."""
    server = RedisServer("--cluster-enabled", "yes")
    try:
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.02)
        yield server
    finally:
        server.stop()


def test_everything_works_on_a_cluster(cluster):
    """No call mixes keys of different hash tags, and every kind of change arrives."""
    url = f"{cluster.url}?prefix=all:"
    with RedisStore(url, ttl="1h") as store, RedisStore(url) as other:
        uid = store.write("s", messages_of("a", "b", "c")).uid
        store.put_attachment("s", "a" * 64, {"name": "x"})
        store.checkpoint("s", Message("assistant", "d"), uid=uid)
        assert store.trim("s", 2) == 2
        store.restore("s")
        other.rename("s", "t")
        store.append("s", messages_of("new"))
        store.fork("t", "u")
        store.delete("u")
        store.restore("u")
        store.clear("s")
        store.restore("s")
        assert store.info()["cluster"] is True
        assert [m.text for m in other.messages("t")] == ["a", "b", "c", "d"]
        assert other.attachments("u") == ["a" * 64]
        assert [m.text for m in other.messages("s")] == ["new"]
        assert sorted(s.id for s in other.list()) == ["s", "t", "u"]
        assert [s.id for s in other.list(sort="id", limit=2)] == ["s", "t"]
        assert [hit.session_id for hit in other.search("new")] == ["s"]
        assert store.check(repair=True) == []
        assert store.delete("t", purge=True)
        assert sorted(s.id for s in other.list()) == ["s", "u"]


def test_a_crowd_on_a_cluster(cluster):
    """Writers of one session on a cluster lose nothing, and only one of them makes it."""
    for output in together(_WRITER.format(turns=10, patient=False), 4, cluster.url):
        assert output.split() == [str(turn) for turn in range(10)]
    with RedisStore(cluster.url) as store:
        texts = [m.text for m in store.messages("s")]
        assert len(texts) == len(set(texts)) == 80
        assert store.check() == []


def test_the_driver_is_loaded_by_this_store_alone():
    """Opening another store does not import the driver."""
    code = """
import sys
from omniagent_cli.stores import open_store
open_store("memory:").append("s", {"role": "user", "content": "a"})
assert "redis" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
