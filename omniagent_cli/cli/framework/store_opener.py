"""Opening of the store that the settings choose, once per run, with its key."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from omniagent_cli.cli.framework.encryption_key_source import apply_encryption_key
from omniagent_cli.config.resolution import resolve_store
from omniagent_cli.errors import ConfigError, StoreNotFound, StoreUnreachable

if TYPE_CHECKING:
    from omniagent_cli.config.resolution import StoreChoice
    from omniagent_cli.config.settings import Settings
    from omniagent_cli.keys import KeyChain
    from omniagent_cli.stores import SessionStore
    from omniagent_cli.ui.terminal import Terminal


class StoreOpener:
    """The store of one run, opened on first use.

    Attributes:
        opened: the store, or None before it is opened.
    """

    def __init__(self, settings: Settings, keys: KeyChain, terminal: Terminal) -> None:
        self._settings = settings
        self._keys = keys
        self._terminal = terminal
        self.opened: SessionStore | None = None

    @cached_property
    def choice(self) -> StoreChoice:
        """The store that the settings choose."""
        return resolve_store(self._settings)

    def existing(self) -> SessionStore:
        """Return the store, for commands that work with existing sessions.

        The default store reads as an empty one before it exists.

        Raises:
            StoreNotFound: a store named by a flag or a variable does not exist.
            StoreUnavailable: it cannot be opened.
        """
        if self.opened is None:
            self._check_exists()
            self.opened = self._with_key(self._open())
        return self.opened

    def without_key(self) -> SessionStore:
        """Return the store without its key, for commands that encrypt it.

        Raises:
            StoreNotFound: as for `existing`.
            StoreUnavailable: it cannot be opened.
        """
        if self.opened is None:
            self._check_exists()
            self.opened = self._open()
        return self.opened

    def to_create(self) -> SessionStore:
        """Return the store, for commands that may create a session; missing directories are created.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        if self.opened is None:
            store = self.opened = self._with_key(self._open())
            if store.ask_key is not None and not store.has_key:
                store.unlock()  # before the chat starts, which cannot be interrupted by the question
        return self.opened

    def _open(self) -> SessionStore:
        from omniagent_cli.stores import open_store

        choice, sessions = self.choice, self._settings.sessions
        try:
            return open_store(
                choice.location,
                ttl=sessions.ttl,
                trash_ttl=sessions.trash_ttl,
                compress=choice.compress,
            )
        except ConfigError as error:
            if choice.origin.layer == "flag":
                raise
            raise ConfigError(f"{choice.origin}: {error}") from error

    def _with_key(self, store: SessionStore) -> SessionStore:
        store.host = self._settings.sync.host or ""
        if self._settings.sync.auto and not store.host:
            from socket import gethostname

            store.host = gethostname()
        return apply_encryption_key(store, self.choice, self._keys, self._terminal)

    def _check_exists(self) -> None:
        """Refuse a missing local store that a flag or a variable names, or whose directory a file misspells."""
        location, origin = self.choice.location, self.choice.origin
        if not location.is_local or origin.layer == "default":
            return
        path = Path(location.files()[0])
        try:
            exists = (path if origin.layer in ("flag", "environment") else path.parent).exists()
        except OSError as error:
            raise StoreUnreachable(
                f"cannot access the store {path}: {error.strerror}; check the path and its permissions"
            ) from error
        if not exists:
            raise StoreNotFound(
                f"no store at {path} ({origin}); check the path, or start a chat there to create it"
            )
