"""Store locations: the one parser of store URLs and paths. Loaded by completion, so it imports almost nothing."""

from __future__ import annotations

import os

from omniagent_cli.errors import ConfigError
from omniagent_cli.stores.registry import Backend, backend_of

# What SQLAlchemy, openai-agents and SQLite itself take for a database in memory.
_MEMORY = (":memory:", "sqlite://", "sqlite::memory:", "sqlite:///:memory:", "file::memory:")
_MODES = ("ro", "rwc")


class StoreLocation:
    """A parsed store URL or path.

    Attributes:
        url: the URL or path as given, with its password; ``memory:`` for each spelling of it.
        scheme: the URL scheme; ``sqlite`` or ``file`` for a plain path.
        path: the file or directory of a local store, ``~`` not expanded; None for all others.
        read_only: the URL has ``mode=ro``: nothing is created or changed.
        backend: the row of the built-in backend, or None for a scheme of another package.

    Raises:
        ConfigError: the location is blank, holds a NUL character, is a local URL with a host, without a path or with
            an unknown parameter, or has a password that must be percent-encoded.
    """

    __slots__ = ("backend", "path", "read_only", "scheme", "url")

    def __init__(self, url: str) -> None:
        self.url = url
        if "\0" in url or "%00" in url:
            raise ConfigError(f"invalid store URL {self.masked!r}: it contains a NUL character")
        if not url.strip():
            raise ConfigError(
                "the store URL is empty; give a URL or a path such as sqlite:///home/me/sessions.db"
            )
        scheme, colon, rest = url.partition(":")
        self.backend: Backend | None = backend_of(scheme)
        self.scheme, self.path, self.read_only = scheme, None, False
        if url.partition("?")[0] in _MEMORY:
            self.url, self.scheme, self.backend = "memory:", "memory", backend_of("memory")
        elif (
            not colon
            or "/" in scheme
            or "\\" in scheme
            or len(scheme) < 2
            or not (rest.startswith("//") or self.backend is not None)
        ):
            # Not pathlib: it raises for unreadable directories, and the backend reports those better.
            self.scheme = "file" if url.endswith("/") or os.path.isdir(url) else "sqlite"  # noqa: PTH112
            self.path, self.backend = url, backend_of(self.scheme)
            if "@" in rest:
                self._refuse_password()
        elif scheme == "memory":
            if rest.strip("/"):
                raise ConfigError(f"invalid store URL {url!r}: memory: takes no name")
        elif self.backend is not None and self.backend.is_local:
            if not rest.startswith("/") and "@" in rest:
                self._refuse_password()
            self.path = _local_path(scheme, rest.partition("?")[0], self.masked)
            self.read_only = _mode(rest.partition("?")[2], self.masked) == "ro"
        else:
            _check_authority(rest.removeprefix("//"), self.masked)

    def __repr__(self) -> str:
        return f"StoreLocation({self.masked!r})"

    def _refuse_password(self) -> None:
        """Refuse a relative path that looks like ``scheme:user:password@host``, and would be printed as it is."""
        if self.masked != self.url:
            raise ConfigError(
                f"unknown store URL {self.masked!r}; a URL begins with scheme://, and a path with / or ./"
            )

    @property
    def is_local(self) -> bool:
        """Return True if the store is a file or a directory on this machine."""
        return self.path is not None

    @property
    def masked(self) -> str:
        """Return the URL without passwords and tokens, for messages and logs."""
        from omniagent_cli.masking import mask_url

        return mask_url(self.url)

    @property
    def canonical(self) -> str:
        """Return the URL of a local store with its absolute path, as `SessionStore.url`; else the URL as given."""
        return local_url(self.scheme, self.files()[0]) if self.is_local else self.url

    @property
    def target(self) -> str:
        """Return the argument of the backend's class: the path of a local store, else the whole URL."""
        return self.url if self.path is None else self.path

    @property
    def is_database_file(self) -> bool:
        """Return True if the store is one database file, which must be on a disk of this machine."""
        return self.is_local and self.backend is not None and bool(self.backend.side_files)

    def files(self) -> list[str]:
        """Return the absolute path of a local store and of its side files, whether they exist or not."""
        if self.path is None:
            return []
        path = os.path.abspath(os.path.expanduser(self.path))  # noqa: PTH100, PTH111  # completion loads this
        sides = self.backend.side_files if self.backend is not None else ()
        return [path, *(path + side for side in sides)]

    def is_same_file(self, path: str | os.PathLike[str]) -> bool:
        """Return True if a path is the file or the directory of this local store."""
        try:
            return any(os.path.samefile(own, path) for own in self.files()[:1])  # noqa: PTH121
        except OSError:
            return False

    def ids_path(self, data_directory: str) -> str | None:
        """Return the path that the backend's ``ids`` module reads, or None if it has no such module.

        Args:
            data_directory: the user's data directory, which holds the map of a Conversations store by default.
        """
        if self.backend is None or not self.backend.reads_ids:
            return None
        if self.path is not None:
            return self.path
        rest = self.url.partition(":")[2]
        return rest.removeprefix("//") or f"{data_directory}/conversations.db"


def local_url(scheme: str, path: str) -> str:
    """Return the URL of a local store, which `StoreLocation` parses back to the same path."""
    return f"{scheme}://{path.replace('%', '%25').replace('?', '%3F')}"


def _check_authority(rest: str, masked: str) -> None:
    """Refuse a password that is not percent-encoded, a piece of which would be taken for a host or port and printed.

    Args:
        rest: the URL after its scheme and ``//``.
        masked: the URL, for messages.
    """
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    authority, tail = rest[:end], rest[end:]
    userinfo, at, hosts = authority.rpartition("@")
    has_ports = all(map(_has_port, hosts.split(",")))
    if ":" not in authority:
        return
    if "@" not in rest and not has_ports:
        raise ConfigError(
            f"invalid port in the store URL {masked}; a password is written before the host: user:password@host"
        )
    path = tail.partition("?")[0]
    is_cut = "@" in tail and (bool(at) or "@" in path or not (path and has_ports))
    if is_cut or "[" in userinfo or "]" in userinfo:
        raise ConfigError(
            f"the password in the store URL {masked} must be percent-encoded:"
            " write / as %2F, @ as %40, : as %3A, # as %23, ? as %3F, [ as %5B, % as %25"
        )


def _has_port(host: str) -> bool:
    """Return True if a host has a port that is a number, or none."""
    name, colon, port = host.rpartition(":")
    return not colon or port.isdigit() or (name.startswith("[") and port.endswith("]"))


def _mode(query: str, masked: str) -> str:
    """Return the parameter ``mode`` of a local URL; ``rwc``, to create what is missing, by default."""
    mode = "rwc"
    for pair in query.split("&") if query else ():
        name, _, mode = pair.partition("=")
        if name != "mode" or mode not in _MODES:
            raise ConfigError(
                f"unknown parameter in the store URL {masked}; use ?mode=ro to open it read-only,"
                " and write a question mark in a path as %3F"
            )
    return mode


def _local_path(scheme: str, rest: str, masked: str) -> str:
    """Return the path after ``sqlite:`` or ``file:``.

    ``sqlite:///name.db``, with no directory, is a file in the working directory, as in SQLAlchemy, because no one
    keeps a database in the root directory. Every other ``///`` path is absolute.
    """
    if rest.startswith("//") and not rest.startswith("///"):
        raise ConfigError(
            f"the store URL {masked!r} names a host; write local stores as {scheme}:///path"
        )
    path = rest.removeprefix("//")
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    if path.startswith("//") or (
        scheme == "sqlite" and path.startswith("/") and path.count("/") == 1
    ):
        path = path[1:]
    if not path.strip("/"):
        raise ConfigError(
            f"the store URL {masked!r} has no path; write it as {scheme}:///home/me/sessions"
        )
    return path
