"""A real Redis cluster for tests, whose slots move and whose nodes fail."""

import contextlib
import subprocess
import time

from tests.stores.redis_server import RedisServer


class Cluster:
    """Nodes on this machine: primaries, each with the slots that `redis-cli` gives it, and their replicas."""

    def __init__(self, primaries=3, replicas=0, timeout_ms=1000):
        count = primaries * (1 + replicas)
        settings = ["--cluster-enabled", "yes", "--appendfsync", "no"]
        settings += ["--cluster-node-timeout", str(timeout_ms), "--cluster-replica-validity-factor", "0"]  # fmt: skip
        self.nodes = [RedisServer(*settings) for _ in range(count)]
        try:
            self.cli("create", *map(self.place, self.nodes), "--cluster-replicas", str(replicas))
            self.wait(self._is_ok)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self):
        return self.nodes[0].url

    @property
    def running(self):
        return [node for node in self.nodes if node.process.poll() is None]

    @staticmethod
    def place(node):
        return f"127.0.0.1:{node.port}"

    @staticmethod
    def cli(command, *arguments):
        """Run a command of ``redis-cli --cluster``."""
        argv = ["redis-cli", "--cluster", command, *arguments, "--cluster-yes"]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    @staticmethod
    def wait(condition):
        """Wait until a condition holds."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "the cluster did not get there"
            time.sleep(0.02)

    def _is_ok(self):
        facts = [self._ask(node, "CLUSTER", "INFO") for node in self.running]
        known = f"cluster_known_nodes:{len(self.nodes)}".encode()
        return all(b"cluster_state:ok" in fact and known in fact for fact in facts)

    @staticmethod
    def _ask(node, *command):
        with node.client() as client:
            return client.execute_command(*command)

    def slot(self, key):
        return self._ask(self.running[0], "CLUSTER", "KEYSLOT", key)

    def owner(self, slot):
        """Return the node that has a slot."""
        for first, last, (_, port, *_), *_ in self._ask(self.running[0], "CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"nobody has the slot {slot}")

    def move(self, key, between=lambda: None):
        """Move the slot of a key to another primary, as an administrator does.

        Args:
            key: a key, which is moved first.
            between: called when this key is moved, and others of its slot are not.
        """
        slot = self.slot(key)
        source = self.owner(slot)
        target = next(n for n in self.nodes if n is not source and self._is_primary(n))
        ids = {node: self._ask(node, "CLUSTER", "MYID") for node in (source, target)}
        self._ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        self._ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        keys = [key]
        while keys:
            moved = ("MIGRATE", "127.0.0.1", target.port, "", 0, 60000, "KEYS", *keys)
            assert self._ask(source, *moved) in (b"OK", b"NOKEY")
            if keys == [key]:
                between()
            keys = self._ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 3)
        for node in (target, source, *(n for n in self.nodes if n not in (source, target))):
            self._ask(node, "CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    @contextlib.contextmanager
    def announced(self, key):
        """Announce that the slot of a key moves; take it back at the end."""
        slot = self.slot(key)
        source = self.owner(slot)
        target = next(n for n in self.nodes if n is not source and self._is_primary(n))
        ids = {node: self._ask(node, "CLUSTER", "MYID") for node in (source, target)}
        self._ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        self._ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        try:
            yield
        finally:
            for node in (source, target):
                self._ask(node, "CLUSTER", "SETSLOT", slot, "STABLE")

    def _is_primary(self, node):
        return self._ask(node, "ROLE")[0] == b"master"

    def refused(self):
        """Return how often nodes asked to try again, because keys were moving."""
        return sum(
            node.client().info("errorstats").get("errorstat_TRYAGAIN", {}).get("count", 0)
            for node in self.running
        )

    def stop(self):
        for node in self.nodes:
            node.stop()
