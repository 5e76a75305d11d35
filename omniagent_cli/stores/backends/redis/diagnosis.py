"""Diagnosis of a first contact that failed: TLS on one side only, unreadable certificates, or a Sentinel instead of a server."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import redis

from omniagent_cli.stores.backends.redis.address import Address, Host

_PROBE_SECONDS = 2.0
_FILES = ("ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile")


class TlsConnection(redis.SSLConnection):
    """An encrypted connection that gives up a handshake early, because a server without TLS never answers it."""

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> Any:
        after = sock.gettimeout()
        sock.settimeout(3.0 if after is None else min(after, 3.0))
        wrapped = super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]  # the driver has no types
        wrapped.settimeout(after)
        return wrapped


def unreadable_file(options: Mapping[str, Any]) -> str | None:
    """Return a certificate file of the options that cannot be read, as a sentence."""
    for name in _FILES:
        path = options.get(name)
        if path is not None and not os.access(path, os.R_OK):
            problem = "cannot be read" if os.path.exists(path) else "does not exist"  # noqa: PTH110  # may be bytes
            return f"the file {path} ({name}) {problem}"
    return None


def explain(address: Address, error: BaseException | None) -> str | None:
    """Return what is wrong with an address whose first contact failed, as a sentence, or None.

    Args:
        address: the address.
        error: the driver's error.
    """
    if address.sentinel is not None or not address.hosts:
        return None
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return (
            "its certificate is not trusted; name the file of its authority with ?ssl_ca_certs=FILE"
        )
    if address.tls and isinstance(error, redis.TimeoutError) and _answers_plainly(address.hosts[0]):
        return "the server does not use TLS on this port; write redis:// instead of rediss://"
    if not address.tls and type(error) is redis.ConnectionError and _uses_tls(address.hosts[0]):
        return "the server uses TLS on this port; write rediss:// instead of redis://"
    return None


def sentinel_services(client: redis.Redis) -> list[str] | None:
    """Return the services of a Sentinel; None if the server is not one."""
    with suppress(redis.RedisError):
        role: Any = client.execute_command("ROLE")  # type: ignore[no-untyped-call]  # the driver has no types
        if role[0] == b"sentinel":
            return [name.decode("utf-8", "replace") for name in role[1]]
    return None


def _answers_plainly(host: Host) -> bool:
    with suppress(OSError), socket.create_connection(host, _PROBE_SECONDS) as probe:
        probe.sendall(b"PING\r\n")
        return probe.recv(1) in (b"+", b"-")
    return False


def _uses_tls(host: Host) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent
    with (
        suppress(OSError),
        socket.create_connection(host, _PROBE_SECONDS) as probe,
        context.wrap_socket(probe),
    ):
        return True
    return False
