"""Opening of the store that the settings choose, once per run, with its key."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from omniagent_cli.cli.framework.encryption_key_source import apply_encryption_key
from omniagent_cli.config.resolution import resolve_store
from omniagent_cli.errors import ConfigError, StoreUnreachable

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

        A store that does not exist yet reads as an empty one, but its directory must exist: else it was mistyped.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        if self.opened is None:
            self._check_directory()
            self.opened = self._with_key(self._open())
        return self.opened

    def without_key(self) -> SessionStore:
        """Return the store without its key, for commands that encrypt it.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        if self.opened is None:
            self._check_directory()
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
        return apply_encryption_key(store, self.choice, self._keys, self._terminal)

    def _check_directory(self) -> None:
        """Refuse a local store in a directory that does not exist, unless it is the default store."""
        choice = self.choice
        if not choice.location.is_local or choice.origin.layer == "default":
            return
        directory = Path(choice.location.files()[0]).parent
        try:
            exists = directory.is_dir()
        except OSError as error:
            raise StoreUnreachable(
                f"cannot access {directory}, the directory of the store: {error.strerror}; check its permissions"
            ) from error
        if not exists:
            raise StoreUnreachable(
                f"there is no directory {directory} for the store {choice.shown} ({choice.origin}); create it or choose another"
            )
