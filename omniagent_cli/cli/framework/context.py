"""What every command has at hand: the global options, the settings, the terminal, and the store, opened when asked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omniagent_cli.errors import ConfigError, StoreUnreachable
from omniagent_cli.ui.terminal import Terminal

if TYPE_CHECKING:
    import typer

    from omniagent_cli.cli.framework.last_used_session import Recent
    from omniagent_cli.config import Settings, StoreChoice
    from omniagent_cli.keys import KeyChain
    from omniagent_cli.stores import SessionStore


class Context:
    """One run of the program.

    Attributes:
        environ: the environment variables.
        cwd: where the search for a project file starts.
        terminal: what is shown and asked.
        json: one JSON document is wanted instead of lines.
        flags: settings given on the command line, by name.
        config_file: what ``--config`` named.
    """

    def __init__(
        self,
        *,
        terminal: Terminal | None = None,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.environ = os.environ if environ is None else environ
        self.terminal = terminal or Terminal(environ=self.environ)
        self.json = False
        self.flags: dict[str, Any] = {}
        self.config_file: str | None = None
        self._cwd = cwd
        self._store: SessionStore | None = None

    @property
    def cwd(self) -> Path:
        """The working directory; it may have been removed meanwhile.

        Raises:
            ConfigError: it was.
        """
        if self._cwd is None:
            try:
                self._cwd = Path.cwd()
            except OSError as error:
                raise ConfigError(
                    "the working directory is gone; change to one that exists"
                ) from error
        return self._cwd

    @cached_property
    def settings(self) -> Settings:
        """All settings of this run; warnings about them are told once, here.

        Raises:
            ConfigError: a file, a variable or an option is wrong.
        """
        from omniagent_cli.config import load_settings

        settings = load_settings(self.environ, self.cwd, self.config_file, self.flags)
        self.terminal.color = settings.display.color
        self.terminal.pager = settings.display.pager
        self.terminal.theme = settings.chat.theme
        for warning in settings.warnings:
            self.terminal.warn(warning)
        return settings

    @cached_property
    def store_choice(self) -> StoreChoice:
        """Which store the settings choose."""
        from omniagent_cli.config import resolve_store

        return resolve_store(self.settings)

    @property
    def store(self) -> SessionStore:
        """The store, for commands that work with sessions that exist.

        A store that is not there yet reads as an empty one, but a directory that is not there was mistyped.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        if self._store is None:
            _check_place(self.store_choice)
            self._store = self._opened()
            self._unlock(self._store)
        return self._store

    @property
    def store_without_key(self) -> SessionStore:
        """The store as it is, for commands that encrypt it.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        if self._store is None:
            _check_place(self.store_choice)
            self._store = self._opened()
        return self._store

    @property
    def store_to_create(self) -> SessionStore:
        """The store, for commands that may bring a session into being: missing directories are made.

        Raises:
            StoreUnavailable: it cannot be opened.
        """
        if self._store is None:
            self._store = self._opened()
            self._unlock(self._store)
            if self._store.ask_key is not None and not self._store.has_key:
                self._store.unlock()  # now, for nobody can be asked in the middle of a chat
        return self._store

    def _unlock(self, store: SessionStore) -> None:
        from omniagent_cli.cli.framework.encryption_key_source import keyed

        keyed(self, store)

    def _opened(self) -> SessionStore:
        from omniagent_cli.stores import open_store

        choice, sessions = self.store_choice, self.settings.sessions
        try:
            store = open_store(
                choice.url, ttl=sessions.ttl, trash_ttl=sessions.trash_ttl, compress=choice.compress
            )
        except ConfigError as error:
            if choice.origin.layer == "flag":
                raise
            raise ConfigError(f"{choice.origin}: {error}") from error
        self._tell_completion(choice.url)
        return store

    def _tell_completion(self, url: str) -> None:
        """Let TAB know which store these settings choose: it has no time to read them."""
        from omniagent_cli.complete.store_pointer import write_pointer

        asked = self.flags.get("store.url")
        write_pointer(url, asked, self.config_file, self.environ, str(self.cwd))

    def remember_ids(self) -> None:
        """Keep the newest ids of a store on a server for TAB, after a command that used it."""
        if self._store is not None:
            from omniagent_cli.cli.framework.completion_cache import keep_ids

            keep_ids(self._store, self.store_choice.url, self.environ)

    @cached_property
    def recent(self) -> Recent:
        """The session this person used last, in this store on this machine."""
        from omniagent_cli.cli.framework.last_used_session import Recent

        return Recent(self.store.url, self.environ)

    @cached_property
    def keys(self) -> KeyChain:
        """The providers' keys of this person: variables, the system keyring, or a private file."""
        from omniagent_cli.config import config_dir
        from omniagent_cli.keys import KeyChain

        return KeyChain(config_dir(self.environ) / "keys.json", environ=self.environ)

    def close(self) -> None:
        """Close what was opened."""
        if self._store is not None:
            self._store.close()


def running(ctx: typer.Context) -> Context:
    """Return the `Context` of the run that a command belongs to."""
    return cast("Context", ctx.obj)


def _check_place(choice: StoreChoice) -> None:
    """Refuse a local store that somebody named in a directory that is not there."""
    from omniagent_cli.stores import StoreLocation

    if choice.origin.layer == "default":
        return
    location = StoreLocation(choice.url)
    if not location.is_local:
        return
    place = Path(location.files()[0]).parent
    try:
        there = place.is_dir()
    except OSError as error:
        raise StoreUnreachable(
            f"cannot look into {place} for the store: {error.strerror}; check who may"
        ) from error
    if not there:
        raise StoreUnreachable(
            f"there is no directory {place} for the store {choice.shown} ({choice.origin}); create it or name another"
        )
