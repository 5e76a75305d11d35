"""Store locations: the one parser of store URLs and paths. Loaded by completion, so it imports almost nothing."""

from __future__ import annotations

import os

from omniagent_cli.errors import ConfigError
from omniagent_cli.stores.registry import Backend, backend_of


class StoreLocation:
    """A parsed store URL or path.

    Attributes:
        url: the URL or path as given, with its password.
        scheme: the URL scheme; ``sqlite`` or ``file`` for a plain path.
        path: the file or directory of a local store, ``~`` not expanded; None for all others.
        backend: the row of the built-in backend, or None for a scheme of another package.

    Raises:
        ConfigError: the location is blank, holds a NUL character, is a local URL with a host or without a path, or
            has a password that must be percent-encoded.
    """

    __slots__ = ("backend", "path", "scheme", "url")

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
        self.scheme, self.path = scheme, None
        if (
            not colon
            or "/" in scheme
            or "\\" in scheme
            or len(scheme) < 2
            or not (rest.startswith("//") or self.backend is not None)
        ):
            # Not pathlib: it raises for unreadable directories, and the backend reports those better.
            self.scheme = "file" if url.endswith("/") or os.path.isdir(url) else "sqlite"  # noqa: PTH112
            self.path, self.backend = url, backend_of(self.scheme)
        elif scheme == "memory":
            if rest.strip("/"):
                raise ConfigError(f"invalid store URL {url!r}: memory: takes no name")
        elif self.backend is not None and self.backend.is_local:
            self.path = _local_path(url, scheme, rest, self.masked)
        else:
            _check_password(rest.removeprefix("//"), self.masked)

    def __repr__(self) -> str:
        return f"StoreLocation({self.masked!r})"

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
        return f"{self.scheme}://{self.files()[0]}" if self.is_local else self.url

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


def _check_password(rest: str, masked: str) -> None:
    """Refuse a password that is not percent-encoded, a piece of which would be taken for a host and printed.

    Args:
        rest: the URL after its scheme and ``//``.
        masked: the URL, for messages.
    """
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    authority, path = rest[:end], rest[end:].partition("?")[0]
    userinfo, at, _ = authority.rpartition("@")
    has_port = authority.rpartition(":")[2].isdigit()
    is_cut = "@" in path or (not at and not has_port and "@" in rest)
    if ":" in authority and (is_cut or "[" in userinfo or "]" in userinfo):
        raise ConfigError(
            f"the password in the store URL {masked} must be percent-encoded: write / as %2F, @ as %40, [ as %5B"
        )


def _local_path(url: str, scheme: str, rest: str, masked: str) -> str:
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
            f"the store URL {url!r} has no path; write it as {scheme}:///home/me/sessions"
        )
    return path
