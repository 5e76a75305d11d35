"""Round trips of whole commands to servers, after the list of ids for TAB exists."""

import io
import os
import sys
from contextlib import closing

import pytest

from omniagent_cli.cli import main
from omniagent_cli.complete import answer
from omniagent_cli.models import Message
from omniagent_cli.stores import open_store
from tests.servers.counting_proxy import CountingProxy
from tests.stores.postgres_server import PostgresServer, place_schema
from tests.stores.redis_server import RedisServer
from tests.stores.secret_places import KEY


@pytest.fixture(scope="module")
def postgres():
    server = PostgresServer("fsync = off")
    yield server
    server.remove()


@pytest.fixture(scope="module")
def redis():
    server = RedisServer("--appendonly", "no")
    yield server
    server.stop()


@pytest.fixture(params=["postgres", "redis"])
def place(request, tmp_path):
    """Return a proxy before a server, and the URL of a store behind it."""
    server = request.getfixturevalue(request.param)
    with closing(CountingProxy(server.port, delay=0.03)) as proxy:
        if request.param == "postgres":
            schema = place_schema(tmp_path)
            yield proxy, server.tcp_url(port=proxy.port, schema=schema, sslmode="disable")
        else:
            yield proxy, f"redis://127.0.0.1:{proxy.port}/0?prefix={tmp_path.name}:"


def test_a_list_is_not_read_a_second_time_for_completion(place, tmp_path, monkeypatch, capsys):
    """Listing waits for at most four answers; TAB has what this machine wrote, and after a time what others wrote."""
    proxy, url = place
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    environ = dict(os.environ) | {"OMNIAGENT_STORE": url}

    def run(*argv):
        assert main(argv, environ=environ, cwd=tmp_path) == 0
        return capsys.readouterr().out

    def completed():
        return [found for found, _ in answer(["sessions", "show", ""], environ)]

    run("ask", "-m", "recall", "-s", "first", "hello")
    assert completed() == ["first"]
    with open_store(url) as other:
        other.append("second", Message("user", "hello"))
    proxy.settle()
    before = proxy.round_trips
    assert "second" in run("sessions", "list")
    assert proxy.round_trips - before <= 4
    assert completed() == ["first"]
    (cached,) = (tmp_path / "cache").rglob("ids-*")
    os.utime(cached, (0, 0))
    run("sessions", "list")
    assert sorted(completed()) == ["first", "second"]
    run("sessions", "delete", "second", "--yes")
    assert completed() == ["first"]


@pytest.mark.parametrize("argv", [("sessions", "list"), ("sessions", "show", "first")])
def test_completion_forgets_titles_that_another_machine_encrypted(
    place, tmp_path, monkeypatch, capsys, argv
):
    """A command that finds the store encrypted removes the titles from the list for TAB, also from a fresh one."""
    _, url = place
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    environ = dict(os.environ) | {"OMNIAGENT_STORE": url}
    with open_store(url) as other:
        other.append("first", Message("user", "hello"))
        other.set_title("first", "private title")
    main(["sessions", "list"], environ=environ, cwd=tmp_path)
    (cached,) = (tmp_path / "cache").rglob("ids-*")
    assert cached.read_text() == "first\tprivate title\n"
    with open_store(url) as other:
        other.encrypt(KEY)
    main(argv, environ=environ, cwd=tmp_path)
    capsys.readouterr()
    assert not cached.exists() or cached.read_text() == "first\t\n"
