"""The Redis store on a cluster of several nodes: slots that move under writers, and nodes that fail."""

import shutil
import threading

import pytest

from omniagent_cli import open_store
from omniagent_cli.models import Message
from omniagent_cli.stores.backends.redis.store import RedisStore
from tests.stores.redis_cluster import Cluster

pytestmark = pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="redis-server is not installed"
)

WRITERS = 8


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture
def url(cluster, request):
    return f"{cluster.url}?prefix={request.node.name}:"


def message(text):
    return Message("user", text)


class Writers:
    """Threads that append to a few sessions, each with a store of its own.

    Attributes:
        acknowledged: session and text of each append that returned.
        failed: the same of each append that raised, with the error.
    """

    def __init__(self, url, sessions=3):
        self.acknowledged, self.failed = [], []
        self._url, self._sessions = url, sessions
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(WRITERS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more()
        return self

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count=3 * WRITERS):
        """Wait until some more appends are acknowledged."""
        goal = len(self.acknowledged) + count
        Cluster.wait(lambda: len(self.acknowledged) >= goal)

    def _write(self, number):
        with RedisStore(self._url) as store:
            turn = 0
            while not self._done.is_set():
                session, text = f"s{number % self._sessions}", f"{number}.{turn}"
                try:
                    store.append(session, message(text))
                    self.acknowledged.append((session, text))
                except Exception as error:  # noqa: BLE001  # the test looks at all of them
                    self.failed.append((session, text, error))
                turn += 1

    def check(self, store):
        """Check that exactly what was acknowledged is stored, in order, and that nothing is damaged."""
        stored = {s: [m.text for m in store.messages(s)] for s in {s for s, _ in self.acknowledged}}
        texts = [(session, text) for session, own in stored.items() for text in own]
        assert sorted(texts) == sorted(self.acknowledged)
        for own in stored.values():
            turns = [tuple(map(int, text.split("."))) for text in own]
            for number in range(WRITERS):
                assert [t for n, t in turns if n == number] == sorted(
                    t for n, t in turns if n == number
                )
        assert store.check() == []


def test_the_slot_of_the_index_moves_under_writers(cluster, url):
    """Nothing is lost, doubled or reported as failed while the lists of the store move to another node and back."""
    with RedisStore(url) as store:
        for number in range(5):
            store.append(f"quiet{number}", message("x"))
        store.delete("quiet0")
        store.set_metadata("quiet1", "archived", True)
        key = store._connection.keys.meta
        with Writers(url) as writers:
            for _ in range(3):
                before = cluster.refused()
                cluster.move(key, lambda: cluster.wait(lambda: cluster.refused() > before))  # noqa: B023  # called at once
                writers.wait_for_more()
        assert writers.failed == []
        writers.check(store)
        listed = sorted(summary.id for summary in store.list(archived=None))
        assert listed == ["quiet1", "quiet2", "quiet3", "quiet4", "s0", "s1", "s2"]
        store.restore("quiet0")
    assert "[OK] All nodes agree" in cluster.cli("check", cluster.place(cluster.nodes[0]))


def test_the_slot_of_a_session_moves_under_writers(cluster, url):
    """An append that meets a moving session waits for it; none fails and is stored all the same."""
    with RedisStore(url) as store:
        uid = store.write("s0", message("first")).uid
        key = store._connection.keys.header(uid)
        with Writers(url, sessions=1) as writers:
            for _ in range(3):
                before = cluster.refused()
                cluster.move(key, lambda: cluster.wait(lambda: cluster.refused() > before))  # noqa: B023  # called at once
                writers.wait_for_more()
        assert writers.failed == []
        writers.acknowledged.append(("s0", "first"))
        assert sorted(m.text for m in store.messages("s0")) == sorted(
            text for _, text in writers.acknowledged
        )
        assert store.check() == []


def test_readers_of_a_slot_that_moves(cluster, url):
    """Reading, listing and searching wait for keys that move, and see everything."""
    with RedisStore(url) as store:
        uid = store.write("s", [message("apple"), message("pear")]).uid
        for key in (store._connection.keys.header(uid), store._connection.keys.meta):
            moving, moved = threading.Event(), threading.Event()

            def window(moving=moving, moved=moved):
                moving.set()
                moved.wait(0.2)  # the readers below wait for the end of the move

            mover = threading.Thread(target=cluster.move, args=(key, window))
            mover.start()
            moving.wait()
            assert [m.text for m in store.messages("s")] == ["apple", "pear"]
            assert [s.id for s in store.list()] == ["s"]
            assert [hit.session_id for hit in store.search("pear")] == ["s"]
            moved.set()
            mover.join()


def test_resharding_under_writers(cluster, url):
    """`redis-cli --cluster reshard` moves many slots while programs write."""
    with RedisStore(url) as store:
        owner = cluster.owner(cluster.slot(store._connection.keys.meta))
        others = [node for node in cluster.nodes if node is not owner]
        ids = {
            node: node.client().execute_command("CLUSTER", "MYID").decode()
            for node in cluster.nodes
        }
        with Writers(url) as writers:
            cluster.cli(
                "reshard", cluster.place(owner), "--cluster-from", ids[owner],
                "--cluster-to", ids[others[0]], "--cluster-slots", "2000",
            )  # fmt: skip
            writers.wait_for_more()
        assert writers.failed == []
        writers.check(store)
        assert sorted(summary.id for summary in store.list()) == ["s0", "s1", "s2"]


def test_several_start_nodes(cluster):
    """A URL with several nodes works while the first one is down."""
    places = ",".join(cluster.place(node) for node in cluster.nodes[1:])
    url = f"redis://127.0.0.1:1,{places}/0?prefix=start:"
    with RedisStore(url) as store:
        assert store.url == url
        store.append("s", message("a"))
        assert store.info()["cluster"] is True
        assert [hit.session_id for hit in store.search("a")] == ["s"]


def test_changes_while_a_slot_is_announced(cluster, url):
    """Between the announcement of a move and the move, a change that empties a key is complete too."""
    with RedisStore(url) as store:
        uid = store.write("s", message("first")).uid
        store.put_attachment("s", "a" * 64, {"name": "x"})
        with cluster.announced(store._connection.keys.meta):
            store.set_message_status("s", 0, "failed")
        with cluster.announced(store._connection.keys.header(uid)):
            store.set_message_status("s", 0, "complete")
            assert store.clear("s") == 1
        assert store.messages("s") == []
        assert store.check() == []
        store.restore("s")
        assert [m.text for m in store.messages("s")] == ["first"]


def test_a_node_that_fails_under_writers():
    """A replica takes over: no append is reported as failed and stored, unless the error says to look."""
    cluster = Cluster(replicas=1)
    try:
        with RedisStore(cluster.url) as store:
            uid = store.write("s0", message("first")).uid
            owner = cluster.owner(cluster.slot(store._connection.keys.header(uid)))
        url = f"redis://{','.join(map(cluster.place, cluster.nodes))}/0"
        with Writers(url, sessions=1) as writers:
            owner.kill()
            writers.wait_for_more()
        with RedisStore(url) as store:
            texts = [m.text for m in store.messages("s0")]
            assert len(texts) == len(set(texts))
            sure = [t for _, t, error in writers.failed if "check if" not in str(error)]
            assert not set(sure) & set(texts)
            store.append("s0", message("after"))
    finally:
        cluster.stop()


def test_synchronized_with_another_store(url):
    """A store on a cluster is synchronized like one on a single server: removals, renames and deletions are carried."""
    with RedisStore(url) as store, open_store("memory:") as other:
        store.append("a", [message("one"), message("two")])
        other.append("b", message("three"))
        assert store.sync(other).ok
        other.rename("b", "c")
        other.trim("a", 1)
        store.append("gone", message("x"))
        store.delete("gone", purge=True)
        assert other.sync(store).ok
        for one in (store, other):
            assert [m.text for m in one.messages("a")] == ["two"]
            assert [m.text for m in one.messages("c")] == ["three"]
        other.delete("a")
        assert store.sync(other).ok
        assert not store.exists("a")
        assert not store.sync(other).total
        assert list(store.check()) == []
