"""Where sessions live: the table of backends, and `open_store`."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import ConfigError, StoreUnreachable
from omniagent_cli.stores.encryption.codec import Passphrase, with_compression, with_encryption
from omniagent_cli.stores.store import DEFAULT_SESSION_TTL, DEFAULT_TRASH_TTL, SessionStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from omniagent_cli.durations import Clock
    from omniagent_cli.stores.encryption.codec import Key

BACKENDS: dict[str, tuple[str, str | None]] = {
    "sqlite": ("omniagent_cli.stores.backends.sqlite.store:SqliteStore", None),
    "file": ("omniagent_cli.stores.backends.jsonl.store:JsonlFilesStore", None),
    "memory": ("omniagent_cli.stores.backends.memory:MemoryStore", None),
    "redis": ("omniagent_cli.stores.backends.redis.store:RedisStore", "redis"),
    "rediss": ("omniagent_cli.stores.backends.redis.store:RedisStore", "redis"),
    "postgresql": ("omniagent_cli.stores.backends.postgres.store:PostgresStore", "postgres"),
    "postgres": ("omniagent_cli.stores.backends.postgres.store:PostgresStore", "postgres"),
    "openai-conversations": (
        "omniagent_cli.stores.backends.conversations.store:ConversationsStore",
        None,
    ),
}
"""URL scheme -> where its class is, and the extra that installs its driver."""

ENTRY_POINTS = "omniagent.stores"
"""Entry-point group by which other packages add backends: name = scheme, value = ``module:Class``."""

__all__ = [
    "BACKENDS",
    "DEFAULT_SESSION_TTL",
    "DEFAULT_TRASH_TTL",
    "Passphrase",
    "SessionStore",
    "check_url",
    "open_store",
    "redacted",
    "split_url",
    "with_compression",
    "with_encryption",
]


def open_store(
    url: str | os.PathLike[str],
    *,
    ttl: timedelta | float | str | None = DEFAULT_SESSION_TTL,
    trash_ttl: timedelta | float | str | None = DEFAULT_TRASH_TTL,
    clock: Clock | None = None,
    read_only: bool = False,
    compress: bool = False,
    encrypt: Key | None = None,
    **options: Any,
) -> SessionStore:
    """Open a store by URL or plain path.

    Args:
        url: ``sqlite:///path``, ``file:///directory``, ``memory:``, ``redis://host:6379/0``, or a path: a directory is a JSON-file
            store, anything else a SQLite file.
        ttl: time to live of the sessions it creates; see `durations.ttl_seconds`.
        trash_ttl: how long removed text can be restored; None: not at all.
        clock: returns the current time; for tests.
        read_only: never create or change anything.
        compress: compress what is written; see `codecs.with_compression`.
        encrypt: the key to encrypt with, bytes or a `Passphrase`; see `codecs.with_encryption`.
        options: what the backend accepts besides.

    Raises:
        ConfigError: the URL is not one, or no backend knows its scheme.
        StoreUnavailable: it cannot be opened; the kind of error says why.
    """
    scheme, rest = split_url(os.fspath(url))
    backend = _backend(scheme, os.fspath(url))
    options |= {"ttl": ttl, "trash_ttl": trash_ttl}
    if clock is not None:
        options["clock"] = clock
    store = (
        backend(**options) if scheme == "memory" else backend(rest, read_only=read_only, **options)
    )
    if compress:
        store = with_compression(store)
    return store if encrypt is None else with_encryption(store, encrypt)


def check_url(url: str) -> None:
    """Refuse a URL that no store could be opened by, without opening one or loading its driver.

    Raises:
        ConfigError: it is no URL, or no backend knows its scheme.
    """
    scheme, _ = split_url(url)
    if scheme in BACKENDS:
        return
    from importlib.metadata import entry_points

    if not entry_points(group=ENTRY_POINTS, name=scheme):
        raise _unknown(scheme, url)


def split_url(url: str) -> tuple[str, str]:
    """Return scheme and what the backend gets: a path for local stores, the whole URL for servers.

    Raises:
        ConfigError: a local URL has no path, or a host.
    """
    if "\0" in url or "%00" in url:
        raise ConfigError(f"the store URL {redacted(url)!r} holds a NUL, which no path can")
    if not url.strip():
        raise ConfigError("a store needs a URL or a path, such as sqlite:///home/me/sessions.db")
    scheme, colon, rest = url.partition(":")
    plain_path = (
        not colon
        or "/" in scheme
        or "\\" in scheme
        or len(scheme) < 2
        or not (rest.startswith("//") or scheme in BACKENDS)
    )
    if plain_path:
        # Not pathlib's: it raises where nobody may look, and the backend can say that better.
        return ("file" if os.path.isdir(url) or url.endswith("/") else "sqlite"), url  # noqa: PTH112
    if scheme == "memory":
        if rest.strip("/"):
            raise ConfigError(
                f"the store URL {url!r} is not memory: alone; memory stores have no name"
            )
        return scheme, ""
    if scheme in ("sqlite", "file"):
        return scheme, _local_path(url, rest)
    return scheme, url


def _local_path(url: str, rest: str) -> str:
    """Read the path after ``sqlite:`` or ``file:``.

    ``sqlite:///name.db``, with no directory, is a file in the working directory, as SQLAlchemy and the seeds read
    it; nobody keeps a database in the root of the disk. Every other ``///`` path is absolute.
    """
    scheme = url.partition(":")[0]
    if rest.startswith("//") and not rest.startswith("///"):
        raise ConfigError(
            f"the store URL {redacted(url)!r} names a host; local stores are written {scheme}:///path"
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
            f"the store URL {url!r} has no path; write it like {scheme}:///home/me/sessions"
        )
    return path


def _backend(scheme: str, url: str) -> Callable[..., SessionStore]:
    if scheme in BACKENDS:
        place, extra = BACKENDS[scheme]
        module, _, name = place.partition(":")
        try:
            return getattr(import_module(module), name)  # type: ignore[no-any-return]
        except ImportError as error:
            raise StoreUnreachable(
                f"the store {redacted(url)} needs a driver; install it with: pip install 'omniagent-cli[{extra}]'"
            ) from error
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=scheme):
        try:
            return point.load()  # type: ignore[no-any-return]
        except (ImportError, AttributeError) as error:
            raise StoreUnreachable(
                f"the store {redacted(url)} needs {point.value}, which cannot be loaded ({error}); reinstall its package"
            ) from error
    raise _unknown(scheme, url)


def _unknown(scheme: str, url: str) -> ConfigError:
    from difflib import get_close_matches

    close = get_close_matches(scheme, BACKENDS, n=1)
    hint = f"did you mean {close[0]}:?" if close else f"known are {', '.join(sorted(BACKENDS))}"
    return ConfigError(f"no store backend is called {scheme!r} (in {redacted(url)}); {hint}")


def redacted(url: str) -> str:
    """Return a store URL without its password, for messages and logs."""
    import re

    url = re.sub(r"([?&](?:ssl_)?password=)[^&#]*", r"\1***", url)
    return re.sub(r"(?<=://)([^/@:]*):.*@", r"\1:***@", url)
