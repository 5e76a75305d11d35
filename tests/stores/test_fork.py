"""Stores across `os.fork`: parent and child use the same object, nothing acknowledged is lost, and nothing hangs."""

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import threading
from datetime import UTC, datetime

import openai
import psycopg
import pytest
import redis

from omniagent_cli import open_store
from omniagent_cli.errors import StoreUnavailable
from omniagent_cli.stores.backend import ListQuery
from omniagent_cli.stores.backends.conversations.store import ConversationsStore
from omniagent_cli.stores.backends.jsonl.disk import locked
from tests.servers.conversations_server import KEY, ConversationsServer
from tests.stores.children import WAIT_SECONDS, Child, Pipe
from tests.stores.place import start
from tests.stores.postgres_server import place_url as postgres_url
from tests.stores.redis_server import place_url as redis_url
from tests.stores.redis_server import shared_url as shared_redis_url
from tests.stores.test_contract import CASES

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SHARED = ["sqlite", "sqlite-encrypted", "file", "redis", "postgres", "conversations"]
URLS = {
    "sqlite": lambda place: f"sqlite://{place}/sessions.db",
    "file": lambda place: f"file://{place}/sessions",
    "redis": redis_url,
    "postgres": postgres_url,
}


@pytest.fixture
def opener(tmp_path):
    """Return what opens a store of a backend, always at the same place."""
    with contextlib.ExitStack() as ending:
        server = None

        def conversations():
            nonlocal server
            server = server or ending.enter_context(ConversationsServer())
            client = openai.OpenAI(api_key=KEY, base_url=server.url, max_retries=0)
            ending.callback(client.close)
            return ConversationsStore(tmp_path / "map.db", client=client)

        yield (
            lambda backend: (
                conversations() if backend == "conversations" else CASES[backend].open(tmp_path)
            )
        )


def add(store, *texts):
    """Append messages one by one; each is acknowledged when the call returns."""
    for text in texts:
        store.session("s").add_message("user", text)


def stored(store):
    return sorted(message.text for message in store.messages("s"))


def series(name, count=5):
    return [f"{name} {number}" for number in range(count)]


@contextlib.contextmanager
def writing(store, count):
    """Let threads append as fast as they can; yields the texts acknowledged, complete at the end."""
    acknowledged, stop = [], threading.Event()

    def write(name):
        for number in itertools.takewhile(lambda _: not stop.is_set(), itertools.count()):
            add(store, f"{name} {number}")
            acknowledged.append(f"{name} {number}")

    threads = [threading.Thread(target=write, args=(f"thread {n}",)) for n in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT_SECONDS)
            assert not thread.is_alive()


@pytest.mark.parametrize("closer", ["parent", "child", "nobody"])
@pytest.mark.parametrize("backend", SHARED)
def test_three_generations_append(opener, backend, closer):
    """A store used before a fork works in parent, child and grandchild, whoever closes it first."""
    store = opener(backend)
    add(store, "first")
    begun, closed = Pipe(), Pipe()

    def grandchild():
        add(store, *series("grandchild"))
        if closer == "child":
            store.close()

    def child():
        add(store, *series("child before"))
        begun.send()
        closed.wait()
        below = Child(grandchild)
        add(store, *series("child after"))
        if closer == "child":
            store.close()
        below.join()

    running = Child(child)
    begun.wait()
    add(store, *series("parent"))
    if closer == "parent":
        store.close()
    closed.send()
    running.join()
    if closer != "parent":
        add(store, "last")
        store.close()
    with opener(backend) as fresh:
        names = ("grandchild", "child before", "child after", "parent")
        wanted = ["first", *(text for name in names for text in series(name))]
        assert stored(fresh) == sorted([*wanted, *(["last"] if closer != "parent" else [])])
        assert fresh.check() == []


@pytest.mark.parametrize("backend", SHARED)
def test_fork_while_threads_write(opener, backend):
    """A fork in the middle of other threads' writes locks nobody out, and half a write is in no process."""
    store = opener(backend)
    add(store, "first")

    def child(number):
        add(store, f"child {number}")
        assert store.messages("s", last=1)
        assert [header.id for header in store.list()] == ["s"]

    with writing(store, 2) as acknowledged:
        for number in range(4):
            Child(lambda number=number: child(number)).join()
    wanted = ["first", *acknowledged, *(f"child {number}" for number in range(4))]
    assert stored(store) == sorted(wanted)
    store.close()


def test_memory_is_copied(opener):
    """A child has a whole copy of a memory store, also when other threads write at the fork."""
    store = opener("memory")
    add(store, "first")

    def child():
        count = next(store.iter_headers(ListQuery())).message_count
        assert len(store.messages("s")) == count
        add(store, "child")
        assert store.messages("s", last=1)[0].text == "child"
        assert len(store.messages("s")) == count + 1

    with writing(store, 3):
        for _ in range(4):
            Child(child).join()
    assert "child" not in stored(store)


POOL = {}


def append_in_pool(number):
    add(POOL["store"], *series(f"task {number}"))
    return number


@pytest.mark.parametrize("backend", SHARED)
def test_multiprocessing_pool(opener, backend):
    """The workers of a forking pool share the parent's store, which goes on writing meanwhile."""
    POOL["store"] = opener(backend)
    add(POOL["store"], "first")
    with multiprocessing.get_context("fork").Pool(3) as pool:
        running = pool.map_async(append_in_pool, range(6), chunksize=1)
        add(POOL["store"], *series("parent"))
        assert running.get(WAIT_SECONDS) == list(range(6))
    wanted = [text for number in range(6) for text in series(f"task {number}")]
    assert stored(POOL["store"]) == sorted(["first", *series("parent"), *wanted])
    POOL.pop("store").close()


DAEMON = """
import os, sys
from omniagent_cli import open_store
store = open_store(sys.argv[1])
add = lambda *texts: [store.session("s").add_message("user", text) for text in texts]
add("first")
if os.fork():
    sys.exit()
os.setsid()
if os.fork():
    os._exit(0)
add(*(f"before {n}" for n in range(5)))
print("half", flush=True)
sys.stdin.readline()
add(*(f"after {n}" for n in range(5)))
print(len(store.messages("s")), flush=True)
"""


@pytest.mark.parametrize("backend", URLS)
def test_daemon(tmp_path, backend):
    """A daemon goes on with the store of the program that started it, while others open and close the store."""
    url = URLS[backend](tmp_path)
    process = start(DAEMON, url, stdin=-1, finalize=True)
    assert process.stdout.readline() == "half\n", process.stderr.read()
    assert process.wait(WAIT_SECONDS) == 0
    with open_store(url) as outside:
        assert stored(outside) == sorted(["first", *series("before")])
        add(outside, "outside")
    out, err = process.communicate("\n", timeout=WAIT_SECONDS)
    assert (out, err) == ("12\n", "")
    with open_store(url) as fresh:
        assert stored(fresh) == sorted(["first", "outside", *series("before"), *series("after")])


ENDINGS = """
import asyncio, os, sys
from omniagent_cli import Agent, open_store
from omniagent_cli.adapters.openai_agents import OmniSession
store = open_store(sys.argv[1])
agent = Agent("recall", store=store)
session = OmniSession("items", store)

def use():
    agent.process_with_session("s", "hello")
    asyncio.run(session.add_items([{"role": "user", "content": "hello"}]))

use()
for ending in ("exit", "hard exit", "error", "unused"):
    pid = os.fork()
    if pid == 0:
        if ending != "unused":
            use()
        if ending == "hard exit":
            os._exit(0)
        if ending == "error":
            raise RuntimeError("on purpose")
        sys.exit()
    print(ending, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    use()
print(len(store.messages("s")), len(asyncio.run(session.get_items())), flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize("backend", URLS)
def test_children_end_in_every_way(tmp_path, backend):
    """Agent and OmniSession answer in children; their end, of whatever kind, leaves the parent's connections alone."""
    url = URLS[backend](tmp_path)
    url += {"redis": "&client_name=parent", "postgres": "&application_name=parent"}.get(backend, "")
    process = start(ENDINGS, url, stdin=-1, finalize=True)
    lines = [process.stdout.readline() for _ in range(5)]
    connections = _connections(backend, tmp_path)
    _, err = process.communicate("\n", timeout=WAIT_SECONDS)
    assert lines[:4] == ["exit 0\n", "hard exit 0\n", "error 1\n", "unused 0\n"], err
    assert lines[4] == "16 8\n"
    assert connections == 1
    assert err.strip().splitlines()[-1] == "RuntimeError: on purpose"
    assert err.count("Traceback") == 1
    assert "Warning" not in err


def _connections(backend, place):
    """Return how many connections of the program the server still has; a server-side close would open a second."""
    if backend == "redis":
        with redis.Redis.from_url(shared_redis_url()) as client:
            return sum(entry["name"] == "parent" for entry in client.client_list())
    if backend == "postgres":
        with psycopg.connect(postgres_url(place).partition("&schema")[0]) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parent'"
            return connection.execute(query).fetchone()[0]
    return 1


def test_killed_parent_leaves_no_file_lock(opener, tmp_path):
    """The lock of a process that dies in a write to a JSON-file store is free, though its child lives on."""
    store = opener("file")
    add(store, "first")
    end = Pipe()
    lock = next((tmp_path / "sessions" / ".omniagent").glob("*lock*"))

    def parent():
        with locked(lock):
            Child(end.wait)
            os._exit(0)

    Child(parent).join()
    with locked(lock, wait_seconds=0):
        pass
    end.send()
    store.close()


def test_fork_within_a_transaction(tmp_path):
    """A fork in the middle of a SQLite transaction of the same thread ends the transaction; none is stored twice."""
    children, forking = [], False

    def clock():
        nonlocal forking
        if forking:
            forking = False
            children.append(Child(lambda: None))
        return datetime.now(UTC)

    store = CASES["sqlite"].open(tmp_path, clock=clock)
    add(store, "first")
    forking = True
    with pytest.raises(StoreUnavailable, match="forked during an operation"):
        add(store, "second")
    (child,) = children
    child.join()
    add(store, "third")
    assert stored(store) == ["first", "third"]
    store.close()


def test_fork_without_hooks(opener):
    """A process forked by C code, as uWSGI does, is refused the SQLite files that its parent has open."""
    store = opener("sqlite")
    add(store, "first")
    python = ctypes.PyDLL(None)
    pid = python.fork()
    if pid == 0:
        python.PyOS_AfterFork_Child()
        refused = 0
        for other in (store, opener("sqlite")):
            try:
                add(other, "child")
            except StoreUnavailable as error:
                refused += "lazy-apps = true" in str(error)
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
    add(store, "last")
    assert stored(store) == ["first", "last"]
    store.close()
