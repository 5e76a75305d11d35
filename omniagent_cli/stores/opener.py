"""Open a store by URL or path."""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import ConfigError, StoreUnreachable
from omniagent_cli.stores.location import StoreLocation
from omniagent_cli.stores.registry import BACKENDS, ENTRY_POINTS
from omniagent_cli.stores.store import (
    DEFAULT_SESSION_TTL,
    DEFAULT_TRASH_TTL,
    SessionStore,
    with_compression,
    with_encryption,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from omniagent_cli.durations import Clock
    from omniagent_cli.stores.encryption.cipher import Key


def open_store(
    url: str | bytes | os.PathLike[str] | StoreLocation,
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
        url: ``sqlite:///path``, ``file:///directory``, ``memory:``, ``redis://host:6379/0`` and so on, or a path: a
            directory is a JSON-file store, anything else a SQLite file. ``sqlite:///path?mode=ro`` is read-only.
        ttl: time to live of new sessions; see `durations.ttl_seconds`.
        trash_ttl: how long removed messages can be restored; None disables the trash.
        clock: returns the current time; for tests.
        read_only: never create or change anything.
        compress: compress new payloads; see `with_compression`.
        encrypt: encryption key, bytes or a `Passphrase`; see `with_encryption`.
        options: further options of the backend.

    Raises:
        ConfigError: the URL is invalid, or its scheme unknown.
        UsageError: an option is unknown.
        StoreUnavailable: the store cannot be opened; the subclass says why.
    """
    location = url if isinstance(url, StoreLocation) else StoreLocation(os.fsdecode(url))
    store_class = _store_class(location)
    options |= {"ttl": ttl, "trash_ttl": trash_ttl}
    if clock is not None:
        options["clock"] = clock
    if location.scheme == "memory":
        store = store_class(**options)
    else:
        store = store_class(location.target, read_only=read_only or location.read_only, **options)
    if compress:
        store = with_compression(store)
    return store if encrypt is None else with_encryption(store, encrypt)


def check_url(url: str) -> None:
    """Check a URL without opening the store or loading its driver.

    Raises:
        ConfigError: the URL is invalid, or its scheme unknown.
    """
    location = StoreLocation(url)
    if location.backend is not None:
        return
    from importlib.metadata import entry_points

    if not entry_points(group=ENTRY_POINTS, name=location.scheme):
        raise _unknown_scheme(location)


def _store_class(location: StoreLocation) -> Callable[..., SessionStore]:
    backend = location.backend
    if backend is not None:
        module, _, name = backend.store_class.partition(":")
        try:
            return getattr(import_module(module), name)  # type: ignore[no-any-return]
        except ImportError as error:
            raise StoreUnreachable(
                f"no driver for {location.masked}; install it with: pip install 'omniagent-cli[{backend.extra}]'"
            ) from error
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS, name=location.scheme):
        try:
            return point.load()  # type: ignore[no-any-return]
        except (ImportError, AttributeError) as error:
            raise StoreUnreachable(
                f"cannot load {point.value}, the backend of {location.masked} ({error}); reinstall its package"
            ) from error
    raise _unknown_scheme(location)


def _unknown_scheme(location: StoreLocation) -> ConfigError:
    from difflib import get_close_matches

    known = sorted(scheme for backend in BACKENDS.values() for scheme in backend.schemes)
    plain = location.scheme.partition("+")[0]  # SQLAlchemy writes sqlite+aiosqlite
    close = [plain] if plain in known else get_close_matches(location.scheme, known, n=1)
    hint = f"did you mean {close[0]}:?" if close else f"known schemes: {', '.join(known)}"
    return ConfigError(f"unknown store scheme {location.scheme!r} in {location.masked}; {hint}")
