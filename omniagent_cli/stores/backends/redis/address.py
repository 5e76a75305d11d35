"""Addresses of Redis servers: URLs of one server, a socket, the nodes of a cluster, or Sentinels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from omniagent_cli.errors import ConfigError
from omniagent_cli.masking import mask_url

DEFAULT_PREFIX = "omniagent:"

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_PORT = 6379
_SENTINEL_PORT = 26379
_SOCKET_SCHEMES = ("unix", "redis+unix", "redis+socket")
_EXAMPLES = {
    "sentinel": "redis+sentinel://host1:26379,host2:26379/SERVICE/0",
    "socket": "unix:///run/redis/redis.sock?db=0",
    "": "redis://user:password@host:6379/0?prefix=omniagent:",
}

Host = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed URL.

    Attributes:
        scheme: ``redis``, ``rediss``, ``redis+sentinel`` or ``rediss+sentinel``, with ``valkey`` where the URL has it, or ``unix``.
        hosts: the server, the start nodes of a cluster, or Sentinels; empty for a socket.
        options: parameters of the driver's connections, without host and port.
        service: the name under which Sentinels know the primary server.
        sentinel: parameters of connections to Sentinels.
    """

    scheme: str
    hosts: tuple[Host, ...]
    options: dict[str, Any]
    service: str = ""
    sentinel: Mapping[str, Any] | None = None

    @property
    def tls(self) -> bool:
        """Return True if connections are encrypted."""
        return bool(self.options.get("ssl"))

    def shown(self, prefix: str) -> str:
        """Return a URL without secrets."""
        user = quote(self.options.get("username") or "", safe="")
        secret = ":***" if self.options.get("password") else ""
        place = ",".join(
            f"{f'[{host}]' if ':' in host else host}:{port}" for host, port in self.hosts
        )
        text = (
            f"{self.scheme}://{user}{secret}@{place}"
            if user or secret
            else f"{self.scheme}://{place}"
        )
        query = {} if prefix == DEFAULT_PREFIX else {"prefix": prefix}
        database = self.options.get("db", 0)
        if self.hosts:
            text += f"/{quote(self.service)}/{database}" if self.service else f"/{database}"
        else:
            text += quote(self.options["path"])
            query |= {"db": database} if database else {}
        return f"{text}?{urlencode(query, safe=':/')}" if query else text


def parse(url: str, given: Mapping[str, Any]) -> Address:
    """Parse a URL; keyword parameters take precedence over it.

    Raises:
        ConfigError: the URL is invalid. The message has no part of it that may be a password.
    """
    scheme = url.partition(":")[0].lower()
    kind = "socket" if scheme in _SOCKET_SCHEMES else scheme.partition("+")[2]
    try:
        return _parse(scheme, url, given)
    except ValueError as error:
        raise ConfigError(
            f"{mask_url(url)!r} is not the URL of a Redis store: {error}; write it like {_EXAMPLES[kind]}"
        ) from None  # the driver's error may contain the password


def prefix_in(url: str) -> str | None:
    """Return the key prefix of a URL."""
    return dict(parse_qsl(url.partition("?")[2], keep_blank_values=True)).get("prefix")


def _parse(scheme: str, url: str, given: Mapping[str, Any]) -> Address:
    rest, _, query = url.partition(":")[2].removeprefix("//").partition("?")
    authority, _, path = rest.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    user, _, password = userinfo.partition(":")
    options = _query_options(query) | {
        name: value for name, value in given.items() if value is not None
    }
    for name, value in (("username", user), ("password", password)):
        if value:
            options.setdefault(name, unquote(value))
    if scheme in _SOCKET_SCHEMES or "unix_socket_path" in options:
        if hosts:
            raise ValueError("a socket has no host")
        return _socket_address(path, options)
    parts = [unquote(part) for part in path.strip("/").split("/") if part]
    sentinel, service = None, ""
    if scheme.endswith("+sentinel"):
        service = options.pop("service_name", "") or (parts.pop(0) if parts else "")
        if not service or service.isdigit():
            raise ValueError("after the hosts comes the name of a service, such as /mymaster")
        sentinel = _sentinel_options(options)
    if len(parts) > 1 or not all(part.isdigit() for part in parts):
        raise ValueError("after the host comes the number of a database, such as /0")
    if parts:
        options.setdefault("db", int(parts[0]))
    if scheme.startswith(("rediss", "valkeys")):
        options["ssl"] = True
    port = _SENTINEL_PORT if sentinel is not None else _PORT
    places = tuple(_host(part, port) for part in hosts.split(","))
    if "host" in options or "port" in options:
        own = options.pop("host", places[0][0]), int(options.pop("port", places[0][1]))
        places = (own, *places[1:])
    if options.get("ssl") and not scheme.startswith(("rediss", "valkeys")):
        scheme = scheme.replace("redis", "rediss", 1).replace("valkey", "valkeys", 1)
    return Address(
        scheme,
        places,
        _with_defaults(options),
        service,
        sentinel and sentinel | _tls_options(options),
    )


def _socket_address(path: str, options: dict[str, Any]) -> Address:
    found = (
        options.pop("unix_socket_path", None) or options.pop("path", None) or unquote(f"/{path}")
    )
    if not found.strip("/"):
        raise ValueError("it has no path of a socket")
    options["path"] = found
    if "virtual_host" in options:  # the name of the database in Celery's URLs
        options.setdefault("db", int(options.pop("virtual_host")))
    return Address("unix", (), _with_defaults(options))


def _query_options(query: str) -> dict[str, Any]:
    parse_url: Any = redis.connection.parse_url  # converts numbers and booleans
    options: dict[str, Any] = parse_url(f"redis://?{query.replace('#', '%23')}")
    # Responses are bytes here, whatever other programs want of the same URL.
    for name in ("prefix", "decode_responses", "encoding", "encoding_errors"):
        options.pop(name, None)
    return options


def _host(text: str, port: int) -> Host:
    """Parse ``host``, ``host:port`` or ``[address]:port``."""
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise ValueError("an address in brackets is incomplete")
        digits = after[1:]
    else:
        host, _, digits = text.partition(":")
    if digits and not (digits.isdigit() and int(digits) < 2**16):
        raise ValueError("a port is not a number below 65536")
    return unquote(host) or "localhost", int(digits or port)


def _sentinel_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the parameters of connections to Sentinels, such as ``sentinel_password``, out of others."""
    own = [name for name in options if name.startswith("sentinel_")]
    found = {name.removeprefix("sentinel_"): options.pop(name) for name in own}
    seconds = dict.fromkeys(("socket_connect_timeout", "socket_timeout"), _CONNECT_SECONDS)
    return {
        **seconds,
        **found,
        "retry": Retry(NoBackoff(), 0),
    }  # the next Sentinel is tried instead


def _tls_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name.startswith("ssl")}


def _with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    if "timeout" in options:
        options["socket_timeout"] = options.pop("timeout")
    return {
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
        "protocol": 2,  # saves the handshake of protocol 3
        "driver_info": None,  # saves two more messages with the name of the driver
        **options,
        "retry": Retry(NoBackoff(), 0),  # the driver's own retries would append twice
    }
