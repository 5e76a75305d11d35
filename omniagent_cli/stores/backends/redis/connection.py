"""Connection to a Redis server: options, connections, scripts, and the server's clock."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from omniagent_cli.errors import (
    ConfigError,
    NewerVersion,
    StoreLocked,
    StoreUnreachable,
)
from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.masking import mask_url
from omniagent_cli.stores.backends.redis import scripts
from omniagent_cli.stores.backends.redis.errors import TROUBLE, translate_error
from omniagent_cli.stores.backends.redis.rows import FORMAT, Keys

T = TypeVar("T")

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_CLOCK_SECONDS = 30.0
"""Time for which the server's time is extrapolated instead of requested."""

_REWRITE_SECONDS = 30.0
_REWRITING = ("in_progress", "scheduled")
_STILL_THERE = "removed content is no longer in the store but still in the append-only file"
_DIGESTS = {
    script: hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
    for script in vars(scripts).values()
    if isinstance(script, str) and "redis.call" in script
}


class Connection(ForkAware):
    """Connections to one server or cluster.

    A command is sent again at most once, and only if repeating it does no harm: reads, and commits, which carry a token by
    which the server recognizes them.

    Attributes:
        url: the server's URL, without the password.
        cluster: keys with different tags are on different nodes; known after `open`.
        mark: the encryption manifest when it was last read, ``b""`` for none; None: not known.
    """

    def __init__(self, url: str, keys: Keys, options: Mapping[str, Any]) -> None:
        self._options = _options(url, options)
        self.url = _shown(self._options, keys.prefix)
        self.keys = keys
        self.cluster = False
        self.mark: bytes | None = None
        self._client: Any = None
        self._opened = False
        self._opening = threading.Lock()
        self._synchronized = -_CLOCK_SECONDS
        self._server_time = datetime.fromtimestamp(0, UTC)
        try:
            self._pool = _pool(self._options)
        except (TypeError, ValueError, redis.RedisError) as error:
            raise ConfigError(
                f"the store URL {self.url} has a parameter that the driver refuses: {_plain(error)}"
            ) from error
        register(self)

    def after_fork_in_child(self) -> None:
        """Leave the connections to the parent: its answers would be read here."""
        keep_forever(self._pool, self._client)
        self._pool, self._client = _pool(self._options), None
        self._opened, self._opening, self.cluster = False, threading.Lock(), False

    def open(self) -> None:
        """Detect once whether the server is a cluster, and check the format of the store.

        Raises:
            NewerVersion: a newer omniagent wrote it.
            NotOurStore: its keys belong to another program.
        """
        if not self._opened:
            with self._opening:
                self._look_around()

    def _look_around(self) -> None:
        if self._client is None:
            self._client = redis.Redis(connection_pool=self._pool)
        mode = self.ask(lambda client: client.info("cluster"))
        if mode.get("cluster_enabled") and not self.cluster:
            self._join_cluster()
        known, mark = self.ask(
            lambda client: client.hmget(f"{self.keys.store}meta", ["format", "m:encryption"])
        )
        if known is not None and not (known.isdigit() and int(known) <= int(FORMAT)):
            raise self.newer(known)
        self.mark = mark or b""
        self._opened = True

    def newer(self, version: bytes) -> NewerVersion:
        """Return the error for a store of another format."""
        return NewerVersion(
            f"the store {self.url} has format {version.decode('utf-8', 'replace')}, this omniagent supports {FORMAT};"
            " install a newer omniagent"
        )

    def _join_cluster(self) -> None:
        import redis.cluster

        options = dict(self._options)
        encrypted = options.pop("ssl", False)
        for name in ("db", "path", "unix_socket_path"):
            options.pop(name, None)
        start = options.pop("host", "localhost"), options.pop("port", 6379)
        alone = self._client
        self._client = self._with_errors(
            lambda: redis.cluster.RedisCluster(*start, ssl=encrypted, **options)
        )
        self.cluster = True
        alone.close()

    def close(self) -> None:
        """Close every connection."""
        if self._client is not None:
            self._client.close()
        self._pool.disconnect()

    def ask(self, call: Callable[[Any], T]) -> T:
        """Run a repeatable command with the driver's client, and translate its errors."""

        def twice() -> T:
            try:
                return call(self._client)
            except redis.exceptions.TimeoutError:
                raise
            except redis.exceptions.ConnectionError as error:
                if isinstance(error, redis.exceptions.AuthenticationError):
                    raise
                return call(self._client)

        return self._with_errors(twice)

    def commit(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script that returns ``done`` if it is repeated without other writes in between.

        Raises:
            StoreUnreachable: the connection broke, and the repeated script does not return ``done``.
        """
        try:
            return self._evaluate(script, keys, arguments)
        except redis.exceptions.ConnectionError as error:
            if isinstance(error, redis.exceptions.AuthenticationError):
                raise translate_error(error, self.url) from error
            answer = self._with_errors(lambda: self._evaluate(script, keys, arguments))
            if answer[0] != b"done":
                raise StoreUnreachable(
                    f"the connection to {self.url} was lost during the commit, and other programs have written since;"
                    " check if the change was stored before you try again"
                ) from error
            return answer
        except TROUBLE as error:
            raise translate_error(error, self.url) from error
        except OSError as error:
            raise StoreUnreachable(f"the store {self.url} cannot be reached: {error}") from error

    def run_again(self, script: str, keys: Sequence[str], *arguments: bytes | str | int) -> Any:
        """Run a repeatable script."""
        return self.ask(lambda _: self._evaluate(script, keys, arguments))

    def _evaluate(
        self, script: str, keys: Sequence[str], arguments: Sequence[bytes | str | int]
    ) -> Any:
        try:
            return self._client.evalsha(_DIGESTS[script], len(keys), *keys, *arguments)
        except redis.exceptions.NoScriptError:  # the server was restarted, or it is another node
            return self._client.eval(script, len(keys), *keys, *arguments)

    def _with_errors(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except TROUBLE as error:
            raise translate_error(error, self.url) from error
        except (OSError, UnicodeError) as error:
            raise StoreUnreachable(f"the store {self.url} cannot be reached: {error}") from error

    # The server's clock

    def heard(self, seconds: bytes, microseconds: bytes) -> None:
        """Record the server time that came with a response."""
        moment = datetime.fromtimestamp(int(seconds), UTC)
        self._server_time = moment + timedelta(microseconds=int(microseconds))
        self._synchronized = time.monotonic()

    def now(self) -> datetime:
        """Return the server's time, extrapolated from its last response if that is recent."""
        passed = time.monotonic() - self._synchronized
        if passed > _CLOCK_SECONDS:
            seconds, microseconds = self.ask(lambda client: client.time(**self._anywhere()))
            self.heard(seconds, microseconds)
            passed = 0
        return self._server_time + timedelta(seconds=passed)

    def _anywhere(self) -> dict[str, Any]:
        """Return the key by which a command without key reaches the node with the store's own keys."""
        if not self.cluster:
            return {}
        return {"target_nodes": self._client.get_node_from_key(self.keys.store)}

    def forget_removed(self) -> None:
        """Make each server rewrite its append-only file, if it has one, without the removed content.

        Raises:
            StoreLocked: the rewrite is not finished, or not permitted for this user.
        """
        nodes: list[dict[str, Any]] = [{}]
        if self.cluster:
            nodes = [{"target_nodes": node} for node in self._client.get_primaries()]
        for node in nodes:
            if self._ask_allowed("aof_enabled", node):
                until = time.monotonic() + _REWRITE_SECONDS
                begun: bool | None = False
                while begun is False:
                    self._await_rewriting(
                        node, until
                    )  # a rewrite that started before the removal is not enough
                    begun = self._allowed(partial(_rewrite, node))
                if begun is None:
                    raise StoreLocked(
                        f"{_STILL_THERE} of {self.url}, and this user may not rewrite it;"
                        " ask the administrator of the server to run BGREWRITEAOF"
                    )
                self._await_rewriting(node, until)

    def _await_rewriting(self, node: dict[str, Any], until: float) -> None:
        while any(self._ask_allowed(f"aof_rewrite_{word}", node) for word in _REWRITING):
            if time.monotonic() > until:
                raise StoreLocked(
                    f"{_STILL_THERE} of {self.url}, which is being rewritten; it is removed when that is done"
                )
            time.sleep(0.01)

    def _ask_allowed(self, name: str, node: dict[str, Any]) -> Any:
        return (self._allowed(lambda client: client.info("persistence", **node)) or {}).get(name)

    def facts(self) -> dict[str, Any]:
        """Return the server's settings and statistics; ``unknown`` if this user may not read them."""
        server = self._allowed(lambda client: client.info(**self._anywhere())) or {}
        facts = {
            "redis_version": server.get("valkey_version") or server.get("redis_version", "unknown"),
            "cluster": self.cluster,
        }
        if "used_memory" in server:
            facts["used_memory_bytes"] = server["used_memory"]
        for name in ("appendonly", "appendfsync", "maxmemory-policy"):
            facts[name.replace("-", "_")] = self._config_of(name)
        return facts

    def _config_of(self, name: str) -> str:
        found: Any = self._allowed(lambda client: client.config_get(name, **self._anywhere()))
        return str((found or {}).get(name, "unknown"))

    def _allowed(self, call: Callable[[Any], T]) -> T | None:
        def attempt() -> T | None:
            try:
                return call(self._client)
            except redis.exceptions.NoPermissionError:
                return None
            except redis.exceptions.ResponseError as error:
                if "unknown command" in str(error).lower():  # hosted servers do not allow CONFIG
                    return None
                raise

        return self._with_errors(attempt)


def _rewrite(node: dict[str, Any], client: Any) -> bool:
    """Start a rewrite of the append-only file; return False if another one is running."""
    try:
        client.execute_command("BGREWRITEAOF", **node)
    except redis.exceptions.ResponseError as error:
        if "already in progress" not in str(error):
            raise
        return False
    return True


def _options(url: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge URL and keyword parameters into connection options; a keyword takes precedence."""
    scheme, _, rest = url.partition(":")
    try:
        parse: Any = redis.connection.parse_url
        found: dict[str, Any] = parse(f"{scheme}://{rest.removeprefix('//')}")
        if scheme == "rediss":
            found["ssl"] = True
        path = unquote(urlsplit(url).path).strip("/")
        if path and not path.isdigit():
            raise ValueError("after the host comes the number of a database, such as /0")  # noqa: TRY301
    except ValueError as error:
        raise ConfigError(
            f"{mask_url(url)!r} is not the URL of a Redis store: {error};"
            " write it like redis://user:password@host:6379/0?prefix=omniagent:"
        ) from error
    found.pop("connection_class", None)
    found.pop("prefix", None)
    found |= {name: value for name, value in given.items() if value is not None}
    if "timeout" in found:
        found["socket_timeout"] = found.pop("timeout")
    return {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
        "protocol": 2,  # saves the handshake of protocol 3
        "driver_info": None,  # saves two more messages with the name of the driver
        **found,
        "retry": Retry(NoBackoff(), 0),  # the driver's own retries would append twice
    }


def _pool(options: Mapping[str, Any]) -> Any:
    parts = dict(options)
    kind: Any = redis.connection.SSLConnection if parts.pop("ssl", False) else redis.Connection
    socket = parts.pop("unix_socket_path", None)
    if socket is not None:
        kind = redis.connection.UnixDomainSocketConnection
        parts["path"] = socket
        for name in ("host", "port"):
            parts.pop(name, None)
    pool = redis.ConnectionPool(connection_class=kind, **parts)
    pool.make_connection()  # this does not connect, but rejects unknown parameters
    return pool


def _shown(options: Mapping[str, Any], prefix: str) -> str:
    """Return a URL without secrets."""
    socket = options.get("unix_socket_path")
    query = {} if socket is None else {"unix_socket_path": socket}
    query |= {} if prefix == "omniagent:" else {"prefix": prefix}
    user = quote(options.get("username") or "", safe="")
    secret = ":***" if options.get("password") else ""
    place = "" if socket else f"{_host(options)}:{options.get('port', 6379)}"
    text = f"{'rediss' if options.get('ssl') else 'redis'}://"
    text += f"{user}{secret}@{place}" if user or secret else place
    text += f"/{options.get('db', 0)}"
    return f"{text}?{urlencode(query, safe=':/')}" if query else text


def _host(options: Mapping[str, Any]) -> str:
    host = str(options.get("host", "localhost"))
    return f"[{host}]" if ":" in host else host


def prefix_in(url: str) -> str | None:
    """Return the key prefix of a URL."""
    return dict(parse_qsl(url.partition("?")[2], keep_blank_values=True)).get("prefix")


def _plain(error: Exception) -> str:
    """Return the driver's message for a wrong parameter, with its name and without its value."""
    return str(error).replace("AbstractConnection.", "").replace("Connection.__init__() ", "")
