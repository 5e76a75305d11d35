"""Kinds of Redis servers and what goes wrong with them: URLs, Sentinels, TLS, rights, and full memory."""

import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

import omniagent_cli
from omniagent_cli.cli import main
from omniagent_cli.errors import ConfigError, CorruptSession, StoreFull, StoreUnreachable
from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from omniagent_cli.stores.backends.redis.store import RedisStore
from tests.servers.guardian import GUARDIAN
from tests.servers.ports import free_port
from tests.stores.redis_server import PROGRAM, RedisServer

needs_redis_7 = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)


@pytest.fixture(scope="module")
def server():
    server = RedisServer()
    yield server
    server.stop()


def message(text):
    return Message("user", text)


# URLs.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h1,h2:6380,[::1]:7/3", "redis://h1:6379,h2:6380,[::1]:7/3"),
        ("valkey://u:pw@h", "valkey://u:***@h:6379/0"),
        ("rediss://h?decode_responses=true", "rediss://h:6379/0"),
        ("redis://h?ssl=true&password=pw", "rediss://:***@h:6379/0"),
        ("redis+sentinel://:pw@h1,h2:5/main/2", "redis+sentinel://:***@h1:26379,h2:5/main/2"),
        ("redis+sentinel://h/0?service_name=main", "redis+sentinel://h:26379/main/0"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis+unix://:pw@/run/redis.sock", "unix://:***@/run/redis.sock"),
        ("redis+socket:///run/redis.sock?virtual_host=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_urls(url, shown):
    """Every form of a URL is accepted, and shown without its password."""
    with open_store(url) as store:
        assert store.url == shown


@pytest.mark.parametrize("password", ["a/s3cr3t", "a@s3cr3t", "[s3cr3t]", "s3cr]3t", "a#s3cr3t", "%s3cr3t", "s3cr3t:x"])  # fmt: skip
@pytest.mark.parametrize("kind", ["redis://:{}@127.0.0.1:1/0", "redis+sentinel://u:{}@127.0.0.1:1/m/0"])  # fmt: skip
def test_no_error_prints_a_password(password, kind, capsys):
    """Whatever a password contains, it is in no message, and no error is a bug."""
    url = kind.format(password)
    for call in (lambda: RedisStore(url).list(), lambda: open_store(url).list()):
        with pytest.raises((ConfigError, StoreUnreachable)) as caught:
            call()
        text = f"{caught.value} {caught.value.__cause__}"
        assert not re.search("s3cr|3t", text)
    assert main(["--store", url, "sessions", "list"]) in (2, 3)
    assert not re.search("s3cr|3t", "".join(capsys.readouterr()))


@pytest.mark.parametrize("url", ["redis://[::1/0", "redis://h:99999", "redis+sentinel://h/0", "unix://h/x", "redis://h/x"])  # fmt: skip
def test_invalid_urls(url):
    """An invalid URL is an error of the setting that says what to write."""
    with pytest.raises(ConfigError, match="write it like"):
        open_store(url)


def test_options_of_other_programs(server):
    """A URL with `decode_responses` or one connection works, in several threads too."""
    with open_store(f"{server.url}?decode_responses=true&max_connections=1&prefix=o:") as store:
        store.append("s", message("a"))
        assert [m.text for m in store.messages("s")] == ["a"]


# Sentinels.


@pytest.fixture
def sentinel():
    """Start a primary, its replica and a Sentinel; yield its port and both servers."""
    primary = RedisServer()
    replica = RedisServer("--replicaof", "127.0.0.1", str(primary.port))
    port, directory = free_port(), GUARDIAN.make_directory("sentinel-")
    settings = f"""port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor main 127.0.0.1 {primary.port} 1
sentinel down-after-milliseconds main 300
sentinel failover-timeout main 2000
"""
    path = Path(directory, "sentinel.conf")
    path.write_text(settings)
    process = subprocess.Popen(
        [str(PROGRAM), str(path), "--sentinel"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 30
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert time.monotonic() < end
        time.sleep(0.02)
    yield port, primary, replica
    process.kill()
    process.wait()
    primary.stop()
    replica.stop()


def test_sentinels_and_a_failover(sentinel):
    """A store follows its Sentinels to a new primary; an append in between is stored once."""
    port, primary, replica = sentinel
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main/0"
    with RedisStore(f"redis://127.0.0.1:{port}") as mistaken:
        with pytest.raises(
            StoreUnreachable,
            match=rf"is a Sentinel; write redis\+sentinel://127.0.0.1:{port}/main/0",
        ):
            mistaken.list()
    with RedisStore(url) as store:
        store.append("s", message("a"))
        with primary.client() as client, replica.client() as other:
            assert client.wait(1, 20_000) == 1
            end = time.monotonic() + 30
            while (
                b"num-slaves" not in (known := _sentinel_facts(port))
                or known[b"num-slaves"] == b"0"
            ):
                assert time.monotonic() < end
                time.sleep(0.05)
            primary.kill()
            store.append("s", message("b"))
            assert other.role()[0] == b"master"
        assert [m.text for m in store.messages("s")] == ["a", "b"]
        assert store.check() == []


def _sentinel_facts(port):
    import redis

    with redis.Redis(port=port, protocol=2) as client:
        answer = client.connection_pool.get_connection()
        answer.send_command("SENTINEL", "MASTER", "main")
        flat = answer.read_response()
        client.connection_pool.release(answer)
    return dict(zip(flat[::2], flat[1::2], strict=True))


# TLS.


def certificate(directory):
    """Write a certificate that signs itself for 127.0.0.1, and its key; return both paths."""
    names = [str(directory / name) for name in ("cert.pem", "key.pem")]
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    argv += ["-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*argv, "-out", names[0], "-keyout", names[1]], check=True, capture_output=True)
    return names


@needs_redis_7
def test_tls(tmp_path):
    """TLS works with the server's own authority; without it, or without TLS, the error says what to write."""
    cert, key = certificate(tmp_path)
    port = free_port()
    server = RedisServer(
        "--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key,
        "--tls-ca-cert-file", cert, "--tls-auth-clients", "no",
    )  # fmt: skip
    try:
        with RedisStore(f"rediss://127.0.0.1:{port}?ssl_ca_certs={cert}") as store:
            store.append("s", message("a"))
        with RedisStore(f"rediss://127.0.0.1:{port}") as store:
            with pytest.raises(StoreUnreachable, match="not trusted; name the file"):
                store.list()
        with RedisStore(f"redis://127.0.0.1:{port}") as store:
            with pytest.raises(StoreUnreachable, match="write rediss:// instead of redis://"):
                store.list()
    finally:
        server.stop()


def test_tls_on_one_side_only(server):
    """TLS to a plain port, and a certificate file that is not there, are reported as that."""
    place = f"127.0.0.1:{server.port}"
    with RedisStore(f"rediss://{place}/0?ssl_cert_reqs=none") as store:
        with pytest.raises(StoreUnreachable, match="write redis:// instead of rediss://"):
            store.list()
    with RedisStore(f"rediss://{place}/0?ssl_ca_certs=/nowhere/ca.pem") as store:
        with pytest.raises(
            StoreUnreachable, match=r"/nowhere/ca.pem \(ssl_ca_certs\) does not exist"
        ):
            store.list()


# Rights.


def manual_line():
    """Return the ACL command of the manual."""
    text = (Path(omniagent_cli.__file__).parent / "manual" / "stores.md").read_text()
    return next(line for line in text.splitlines() if line.startswith("ACL SETUSER "))


@needs_redis_7
def test_least_rights(server):
    """The rights in the manual suffice, and each that is missing is answered with all of them."""
    line = manual_line().replace(">PASSWORD", ">pw")
    words = line.split()[2:]
    url = f"redis://omniagent:pw@127.0.0.1:{server.port}"
    with server.client() as client:
        client.execute_command(*line.split())
        with RedisStore(url) as store:
            store.append("s", [message("a"), message("b")])
            store.put_attachment("s", "a" * 64, {"name": "x"})
            store.trim("s", 1)
            store.restore("s")
            store.rename("s", "t")
            store.list()
            store.search("a")
            store.check(repair=True)
            store.delete("t", purge=True)
            assert store.info()["appendonly"] == "yes"
        for right in ("+@hash", "+@sortedset", "+evalsha", "+info", "+time"):
            client.execute_command("ACL", "SETUSER", "omniagent", "reset")
            client.execute_command("ACL", "SETUSER", *(word for word in words if word != right))
            with RedisStore(url) as store, pytest.raises(StoreUnreachable) as caught:
                store.append("s", message("a"))
            said = str(caught.value)
            assert all(word in said for word in words if word != ">pw"), (right, said)


# Memory and damage.


def test_a_full_server_deletes(server, capsys):
    """With `noeviction` a full server still trims, deletes and purges, and then has room."""
    url = f"{server.url}?prefix=full:"
    with RedisStore(url) as store, server.client() as client:
        for session_id in ("a", "b", "c"):
            store.append(session_id, [message("x" * 1000)] * 3)
        client.config_set("maxmemory", "1")
        try:
            with pytest.raises(StoreFull, match="nothing was stored"):
                store.append("a", message("more"))
            assert store.trim("a", 1) == 2
            assert main(["--store", url, "sessions", "delete", "b", "--yes"]) == 0
            assert main(["--store", url, "sessions", "delete", "c", "--yes", "--purge"]) == 0
            assert [s.id for s in store.list()] == ["a"]
            assert store.empty_trash() > 0
        finally:
            client.config_set("maxmemory", "0")
        assert store.check() == []
    capsys.readouterr()


def test_a_key_of_another_type_stops_a_change_before_its_first_write(server):
    """Keys of another program under our names: an append changes nothing, and `check` names the session."""
    prefix = "other:"
    with RedisStore(f"{server.url}?prefix={prefix}") as store, server.client() as client:
        uid = store.write("s", message("a")).uid
        store.append("t", message("b"))
        kept = client.dump(f"{prefix}{{store}}:v:updated")
        client.delete(f"{prefix}{{store}}:v:updated")
        client.set(f"{prefix}{{store}}:v:updated", "theirs")
        with pytest.raises(Exception, match="another prefix"):
            store.append("s", message("not stored"))
        client.restore(f"{prefix}{{store}}:v:updated", 0, kept, replace=True)
        assert [m.text for m in store.messages("s")] == ["a"]
        assert store.check() == []
        client.delete(f"{prefix}{{{uid}}}:m")
        client.set(f"{prefix}{{{uid}}}:m", "theirs")
        with pytest.raises(CorruptSession, match="another type"):
            store.messages("s")
        assert "s" in {problem.session_id for problem in store.check()}
        assert [m.text for m in store.messages("t")] == ["b"]
