"""Connections to a Redis server, a cluster, or the primary that Sentinels name: commands, scripts, and the server's clock."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import redis

from omniagent_cli.errors import ConfigError, NewerVersion, OmniAgentError, StoreUnreachable
from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.stores.backends.redis import scripts
from omniagent_cli.stores.backends.redis.address import Address, parse
from omniagent_cli.stores.backends.redis.diagnosis import (
    TlsConnection,
    explain,
    sentinel_services,
    unreadable_file,
)
from omniagent_cli.stores.backends.redis.errors import TROUBLE, translate_error
from omniagent_cli.stores.backends.redis.rows import FORMAT, Keys

T = TypeVar("T")
Command = tuple[Any, ...]

_CLOCK_SECONDS = 30.0
"""Time for which the server's time is extrapolated instead of requested."""

FAILOVER_SECONDS = 30.0
"""Time for which a cluster may move slots or promote a replica, and Sentinels may promote one."""

DIGESTS = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in vars(scripts).values()
    if isinstance(script, str) and "redis.call" in script
}

UNSETTLED = (
    redis.exceptions.TryAgainError,
    redis.exceptions.ClusterError,
    redis.exceptions.SlotNotCoveredError,
    redis.exceptions.BusyLoadingError,
)
"""Answers of a cluster that moves slots or replaces a node: the command was not run."""


class Connection(ForkAware):
    """Connections to one server or cluster.

    Attributes:
        url: the server's URL, without the password.
        client: the driver's client of the server or cluster; None before `open`.
        pool: the connections of a single server.
        cluster: keys with different tags are on different nodes; known after `open`.
        mark: the encryption manifest when it was last read, ``b""`` for none; None: not known.
    """

    def __init__(self, url: str, keys: Keys, options: Mapping[str, Any]) -> None:
        self.address = parse(url, options)
        self.url = self.address.shown(keys.prefix)
        self.keys = keys
        self.cluster = False
        self.mark: bytes | None = None
        self.client: Any = None
        self._opened = False
        self._opening = threading.Lock()
        self._synchronized = -_CLOCK_SECONDS
        self._server_time = datetime.fromtimestamp(0, UTC)
        try:
            self.pool = _pool(self.address)
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigError(
                f"the store URL {self.url} has a parameter that the driver refuses: {_plain(error)}"
            ) from error
        register(self)

    def after_fork_in_child(self) -> None:
        """Leave the connections to the parent: its answers would be read here."""
        keep_forever(self.pool, self.client)
        self.pool, self.client = _pool(self.address), None
        self._opened, self._opening, self.cluster = False, threading.Lock(), False

    def close(self) -> None:
        """Close every connection."""
        if self.client is not None:
            self.client.close()
        self.pool.disconnect()

    # Opening

    def open(self) -> None:
        """Detect once whether the server is a cluster, and check the format of the store.

        Raises:
            NewerVersion: a newer omniagent wrote it.
            NotOurStore: its keys belong to another program.
            StoreUnreachable: there is no such server; the message says why, as far as that can be found out.
        """
        if not self._opened:
            with self._opening:
                self._look_around()

    def _look_around(self) -> None:
        if problem := unreadable_file(self.address.options):
            raise StoreUnreachable(f"the store {self.url} cannot be opened: {problem}")
        if len(self.address.hosts) > 1 and self.address.sentinel is None:
            self._join_cluster()
        elif self.client is None:
            self.client = redis.Redis(connection_pool=self.pool)
        commands = [("HMGET", self.keys.meta, "format", "m:encryption"), ("TIME",)]
        if not self.cluster:
            mode, known, moment = self._first_contact([("INFO", "cluster"), *commands])
            if mode.get("cluster_enabled"):
                self._join_cluster()
        if self.cluster:
            known, moment = self.together([(self.keys.meta, command) for command in commands])
        self.heard(*moment)
        version, mark = known
        if version is not None and not (version.isdigit() and int(version) <= int(FORMAT)):
            raise self.newer(version)
        self.mark = mark or b""
        self._opened = True

    def _first_contact(self, commands: Sequence[Command]) -> list[Any]:
        def contact(client: Any) -> list[Any]:
            pipeline = client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            return answers

        try:
            answers = self.ask(contact)
        except StoreUnreachable as error:
            problem = explain(self.address, error.__cause__)
            if problem is None:
                raise
            raise StoreUnreachable(f"the store {self.url} cannot be reached: {problem}") from error
        mode = answers[0]
        if isinstance(mode, dict) and mode.get("cluster_enabled"):
            return answers
        for answer in answers:
            if isinstance(answer, Exception):
                services = sentinel_services(self.client)
                if services is not None:
                    hosts = self.url.partition("://")[2].partition("/")[0]
                    raise StoreUnreachable(
                        f"the server at {self.url} is a Sentinel; write {self.address.scheme}+sentinel://{hosts}"
                        f"/{services[0] if services else 'SERVICE'}/0"
                    ) from answer
                raise self.translate(answer) from answer
        return answers

    def _join_cluster(self) -> None:
        import redis.cluster

        options = dict(self.address.options)
        options.pop("db", None)
        node: Any = redis.cluster.ClusterNode  # the driver has no types
        nodes = [node(*host) for host in self.address.hosts]
        alone = self.client
        try:
            self.client = redis.cluster.RedisCluster(startup_nodes=nodes, **options)
        except redis.exceptions.RedisClusterException as error:
            if "not enabled" in str(error):
                raise ConfigError(
                    f"the hosts of {self.url} are not nodes of a cluster; name one server, or write redis+sentinel://"
                ) from error
            raise self.translate(error) from error
        except (*TROUBLE, OSError, UnicodeError) as error:
            raise self.translate(error) from error
        self.cluster = True
        if alone is not None:
            alone.close()

    def newer(self, version: bytes) -> NewerVersion:
        """Return the error for a store of another format."""
        return NewerVersion(
            f"the store {self.url} has format {version.decode('utf-8', 'replace')}, this omniagent supports {FORMAT};"
            " install a newer omniagent"
        )

    # Commands

    def ask(self, call: Callable[[Any], T]) -> T:
        """Run repeatable commands with the driver's client, and translate its errors.

        A broken connection is replaced once. A cluster gets `FAILOVER_SECONDS` to settle.
        """
        failures, until = 0, time.monotonic() + FAILOVER_SECONDS
        while True:
            try:
                return call(self.client)
            except (*TROUBLE, OSError, UnicodeError) as error:
                failures += 1
                if not self._is_worth_repeating(error, failures, until):
                    raise self.translate(error) from error

    def _is_worth_repeating(self, error: Exception, failures: int, until: float) -> bool:
        """Wait and return True if repeating a failed command may succeed."""
        if isinstance(error, redis.exceptions.AuthenticationError | TimeoutError):
            return False
        settles = self.cluster or (self._opened and self.address.sentinel is not None)
        if settles and time.monotonic() < until:
            if isinstance(error, (*UNSETTLED, redis.exceptions.RedisClusterException)):
                time.sleep(0.05)
                return True
            if isinstance(error, redis.exceptions.ConnectionError):
                time.sleep(0.05 * min(failures, 10))
                return True
        return failures == 1 and isinstance(error, redis.exceptions.ConnectionError)

    def together(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        """Run repeatable commands, each beside its key, in one round trip to each node."""

        def run(client: Any) -> list[Any]:
            batches: dict[Any, list[int]] = {}
            for number, (key, _) in enumerate(commands):
                node = client.get_node_from_key(key) if self.cluster else None
                batches.setdefault(node, []).append(number)
            answers: list[Any] = [None] * len(commands)
            for node, numbers in batches.items():
                alone = client if node is None else client.get_redis_connection(node)
                pipeline = alone.pipeline(transaction=False)
                for number in numbers:
                    pipeline.execute_command(*commands[number][1])
                found = pipeline.execute(raise_on_error=False)
                for number, answer in zip(numbers, found, strict=True):
                    answers[number] = answer
            return answers

        answers = self.ask(run)
        for number, answer in enumerate(answers):
            if isinstance(answer, Exception):
                answers[number] = self._alone(*commands[number], answer)
        return answers

    def _alone(self, key: str, command: Command, error: Exception) -> Any:
        """Run a command again that failed among others, where the driver follows redirections."""
        moves = (redis.exceptions.AskError, *UNSETTLED)
        if isinstance(error, redis.exceptions.NoScriptError):
            script = next(text for text, digest in DIGESTS.items() if digest == command[1])
            return self.run_again(script, command[3 : 3 + command[2]], *command[3 + command[2] :])
        if not self.cluster or not isinstance(error, moves):
            raise self.translate(error) from error
        return self.ask(
            lambda client: client.execute_command(
                *command, **({} if len(command) > 1 else self._node(key))
            )
        )

    def evaluation(self, script: str, keys: Sequence[str], *arguments: Any) -> Command:
        """Return the command that runs a script, for `together`."""
        return ("EVALSHA", DIGESTS[script], len(keys), *keys, *arguments)

    def run_again(self, script: str, keys: Sequence[str], *arguments: bytes | str | int) -> Any:
        """Run a repeatable script."""
        return self.ask(lambda client: evaluate(client, script, keys, arguments))

    def primaries(self) -> list[dict[str, Any]]:
        """Return for each primary server the parameter that selects it for a command without keys."""
        if not self.cluster:
            return [{}]
        return [{"target_nodes": node} for node in self.client.get_primaries()]

    def store_node(self) -> dict[str, Any]:
        """Return the parameter that selects the server of the store's own keys for a command without keys."""
        return self._node(self.keys.store)

    def _node(self, key: str) -> dict[str, Any]:
        return {"target_nodes": self.client.get_node_from_key(key)} if self.cluster else {}

    # Errors

    def translate(self, error: Exception, consequence: str = "") -> OmniAgentError:
        """Return the error for an error of the driver."""
        options = self.address.options
        return translate_error(
            error,
            self.url,
            user=options.get("username") or "default",
            prefix=self.keys.prefix,
            consequence=consequence,
        )

    # The server's clock

    def heard(self, seconds: bytes | int, microseconds: bytes | int) -> None:
        """Record the server time that came with a response."""
        moment = datetime.fromtimestamp(int(seconds), UTC)
        self._server_time = moment + timedelta(microseconds=int(microseconds))
        self._synchronized = time.monotonic()

    def now(self) -> datetime:
        """Return the server's time, extrapolated from its last response if that is recent."""
        passed = time.monotonic() - self._synchronized
        if passed > _CLOCK_SECONDS:
            self.heard(*self.ask(lambda client: client.time(**self.store_node())))
            passed = 0
        return self._server_time + timedelta(seconds=passed)


def evaluate(client: Any, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
    """Run a script by its digest, or by its text on a server that does not have it yet."""
    try:
        return client.evalsha(DIGESTS[script], len(keys), *keys, *arguments)
    except redis.exceptions.NoScriptError:  # the server was restarted, or it is another node
        return client.eval(script, len(keys), *keys, *arguments)


def _pool(address: Address) -> Any:
    options = dict(address.options)
    plain: Any = redis.Connection
    kind = TlsConnection if options.pop("ssl", False) else plain
    if address.sentinel is not None:
        from redis.sentinel import Sentinel, SentinelConnectionPool

        kind(**options)  # this does not connect, but rejects unknown parameters
        sentinels = Sentinel(address.hosts, sentinel_kwargs=dict(address.sentinel))  # type: ignore[no-untyped-call]  # the driver has no types
        return SentinelConnectionPool(address.service, sentinels, **options, ssl=address.tls)  # type: ignore[no-untyped-call]  # as above
    if address.hosts:
        options["host"], options["port"] = address.hosts[0]
    else:
        kind = redis.connection.UnixDomainSocketConnection
    limit = options.pop("max_connections", None)
    kind(**options)
    if limit is None:
        return redis.ConnectionPool(connection_class=kind, **options)
    patient: Any = redis.BlockingConnectionPool
    return patient(int(limit), timeout=options["socket_timeout"], connection_class=kind, **options)


def _plain(error: Exception) -> str:
    """Return the driver's message for a wrong parameter, with its name and without its value."""
    return str(error).replace("AbstractConnection.", "").replace("Connection.__init__() ", "")
