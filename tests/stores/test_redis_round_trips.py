"""Round trips of the Redis store, and appends whose response is lost."""

import pytest
from redis.connection import AbstractConnection

from omniagent_cli.errors import StoreUnreachable
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.redis import scan
from omniagent_cli.stores.backends.redis.store import RedisStore
from tests.stores.redis_server import Proxy, RedisServer


@pytest.fixture(scope="module")
def server():
    server = RedisServer("--appendonly", "no")
    yield server
    server.stop()


@pytest.fixture
def proxy(server):
    proxy = Proxy(server)
    yield proxy
    proxy.stop()


@pytest.fixture
def url(proxy, request):
    return f"{proxy.url}?prefix={request.node.name}:"


@pytest.fixture
def direct(server, request):
    """Open the same store beside the proxy."""
    with RedisStore(f"{server.url}?prefix={request.node.name}:") as store:
        yield store


def message(text):
    return Message("user", text)


@pytest.fixture
def trips(monkeypatch):
    """Return a function that counts the round trips of a call: what the driver sends before it waits."""
    sent = []
    send = AbstractConnection.send_packed_command

    def count(self, command, check_health=True):
        sent.append(self)
        send(self, command, check_health=check_health)

    def trips(call):
        sent.clear()
        call()
        return len(sent)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", count)
    return trips


def test_round_trips_of_the_library(url, trips):
    """Each operation of an open store takes the round trips that the manual promises."""
    with RedisStore(url) as store:
        for number in range(30):
            store.append(f"s{number}", [message(f"word{number} text"), message("more")])
        store.messages("s1", last=1)  # the server has the scripts after this
        store.list()
        calls = {
            "append": (lambda: store.append("s1", message("next")), 1),
            "append to a new session": (lambda: store.append("new", message("first")), 2),
            "list": (lambda: store.list(limit=20), 2),
            "count": (store.count, 1),
            "count_messages": (lambda: store.count_messages("s1"), 1),
            "newest 50": (lambda: store.messages("s1", last=50), 2),
            "set_metadata": (lambda: store.set_metadata("s1", "k", 1), 2),
            "exists": (lambda: store.exists("s1"), 1),
            "delete": (lambda: store.delete("s2"), 2),
            "search": (lambda: store.search("word3"), 2),
            "no hit": (lambda: store.search("nowhere"), 2),
        }
        counted = {name: trips(call) for name, (call, _) in calls.items()}
    assert counted == {name: limit for name, (_, limit) in calls.items()}


def test_search_costs_round_trips_by_page(direct, trips, monkeypatch):
    """A complete scan reads many sessions in a round trip, and a full page ends it early."""
    monkeypatch.setattr(scan, "_MANY", 100)
    for number in range(400):
        direct.append(f"s{number}", message("common" if number else "rare common"))
    hits = []
    assert trips(lambda: hits.extend(direct.search("rare"))) == 6
    assert [hit.session_id for hit in hits] == ["s0"]
    assert trips(lambda: hits.extend(direct.search("common"))) == 2
    assert [hit.session_id for hit in hits[1:]] == [f"s{n}" for n in range(399, 379, -1)]


def test_search_finds_every_message_of_large_sessions(direct, monkeypatch):
    """Sessions that do not fit into one response are read to the end."""
    monkeypatch.setattr(scan, "_BYTES", 1000)
    for session_id in ("a", "b"):
        direct.append(session_id, [message(f"{'x' * 400} apple{n}") for n in range(200)])
    assert len(direct.search("apple*", limit=None)) == 400
    assert direct.search("apple199", limit=None).scanned == 400


def test_an_append_whose_response_was_lost_is_stored_once(url, proxy):
    """A connection that breaks after the commit: the commit is recognized and not repeated."""
    with RedisStore(url) as store:
        store.append("s", message("a"))
        proxy.lose()
        store.append("s", message("b"))
        assert [m.text for m in store.messages("s")] == ["a", "b"]
        proxy.lose()
        assert [m.text for m in store.messages("s")] == ["a", "b"]


def test_an_append_is_found_by_its_message_after_other_writes(url, proxy, direct):
    """The response is lost and another program writes: the message is looked up, and the append succeeds."""
    with RedisStore(url) as store:
        store.append("s", message("a"))
        proxy.lose(lambda: direct.append("s", message("other")))
        stored = store.append("s", message("b"))
        assert [m.text for m in store.messages("s")] == ["a", "b", "other"]
        assert [m.id for m in store.messages("s")][1] == stored[0].id


def test_a_change_without_messages_that_others_overwrote_is_reported(url, proxy, direct):
    """The response to a rename is lost and another program writes: the error says to look before repeating."""
    with RedisStore(url) as store:
        store.append("s", message("a"))
        proxy.lose(lambda: direct.append("t", message("other")), skip=2)
        with pytest.raises(StoreUnreachable, match="check if the change was stored"):
            store.rename("s", "t")
        assert direct.exists("t")
