"""Synchronization with the store of another machine, through the local ``ssh`` program."""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, cast
from urllib.parse import unquote, urlsplit

from omniagent_cli.errors import ConfigError, SyncError
from omniagent_cli.stores.sync.remote import LinePeer

SCHEME = "ssh://"

_HOST = re.compile(r"[A-Za-z0-9._:%\[\]-]+")
_USER = re.compile(r"[A-Za-z0-9._@+-]+")


@dataclass(frozen=True, slots=True)
class SshTarget:
    """A store on another machine.

    Attributes:
        host: the host or alias of the ssh configuration, with ``user@`` if one is given.
        port: None: that of the ssh configuration.
        store: the store there; "" for the default one.
    """

    host: str
    port: int | None = None
    store: str = ""

    @classmethod
    def parse(cls, url: str) -> SshTarget:
        """Return the target of ``ssh://[USER@]HOST[:PORT][/STORE]``.

        The store is ``/@NAME`` of the configuration there, ``/~/PATH`` in the home directory, a URL, or an absolute path.

        Raises:
            ConfigError: it is not such a URL.
        """
        try:
            parts = urlsplit(url)
            host, user, port = parts.hostname or "", parts.username or "", parts.port
        except ValueError as error:
            raise ConfigError(f"invalid {url!r}: {error}; write ssh://HOST/STORE") from error
        valid = _HOST.fullmatch(host) and not host.startswith("-") and not user.startswith("-")
        if not valid or (user and not _USER.fullmatch(user)) or parts.password is not None:
            raise ConfigError(f"invalid host in {url!r}; write ssh://[USER@]HOST[:PORT][/STORE]")
        path = unquote(parts.path)
        if path.startswith(("/@", "/~/")) or "://" in path:
            path = path[1:].removeprefix("~/")
        return cls(f"{user}@{host}" if user else host, port, "" if path == "/" else path)

    def command(self, program: str, *, batch: bool = False) -> list[str]:
        """Return the command that starts omniagent there; it is one argument for the shell of that machine."""
        options = ["-o", "BatchMode=yes"] if batch else []
        there = [program, *(["--store", self.store] if self.store else []), "store", "serve-sync"]
        port = [] if self.port is None else ["-p", str(self.port)]
        return ["ssh", "-TC", *options, *port, "--", self.host, shlex.join(there)]


@contextlib.contextmanager
def connect(url: str, *, program: str = "omniagent", batch: bool = False) -> Iterator[LinePeer]:
    """Start omniagent on another machine and yield its store as a side of a synchronization.

    ``ssh`` asks for passwords on the terminal and prints its own errors.

    Args:
        url: see `SshTarget.parse`.
        program: omniagent on that machine.
        batch: ``ssh`` asks and prints nothing.

    Raises:
        SyncError: it cannot be started.
    """
    target = SshTarget.parse(url)
    try:
        process = subprocess.Popen(  # noqa: S603  # host and store are one argument each
            target.command(program, batch=batch),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if batch else None,
            start_new_session=batch,  # Ctrl-C is for the chat
        )
    except FileNotFoundError as error:
        raise SyncError("no 'ssh' program found; install an OpenSSH client") from error
    reading, writing = cast("IO[bytes]", process.stdout), cast("IO[bytes]", process.stdin)
    try:
        yield LinePeer(reading, writing, target.host)  # type: ignore[arg-type]  # pipes are binary files
    finally:
        with contextlib.suppress(OSError):
            writing.close()
        reading.close()
        process.wait()
