"""The context of a command: global options, settings, terminal, keys, and the store, each created on first use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omniagent_cli.errors import ConfigError
from omniagent_cli.ui.terminal import Terminal

if TYPE_CHECKING:
    import typer

    from omniagent_cli.cli.framework.store_opener import StoreOpener
    from omniagent_cli.config.directory_sessions import DirectorySessions
    from omniagent_cli.config.last_used_session import LastUsedSession
    from omniagent_cli.config.resolution import StoreChoice
    from omniagent_cli.config.settings import Settings
    from omniagent_cli.keys import KeyChain
    from omniagent_cli.stores import SessionStore


class Context:
    """The context of one run of the program.

    Attributes:
        environ: the environment variables.
        terminal: the terminal, or pipes.
        json: whether to print one JSON document instead of lines.
        flags: settings given on the command line, by name.
        config_file: the value of ``--config``.
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

    def again(self) -> Context:
        """Return a context for the same run that opens the store once more, for another thread."""
        other = Context(terminal=self.terminal, environ=self.environ, cwd=self.cwd)
        other.flags, other.config_file = dict(self.flags), self.config_file
        return other

    def with_store(self, url: str) -> Context:
        """Return a context for the same run with another store."""
        other = Context(terminal=self.terminal, environ=self.environ, cwd=self.cwd)
        other.flags = {**self.flags, "store.url": url}
        other.config_file = self.config_file
        return other

    @property
    def cwd(self) -> Path:
        """The working directory, where the search for a project file starts.

        Raises:
            ConfigError: it was removed.
        """
        if self._cwd is None:
            try:
                self._cwd = Path.cwd()
            except OSError as error:
                raise ConfigError(
                    "the working directory no longer exists; change to another one"
                ) from error
        return self._cwd

    @cached_property
    def settings(self) -> Settings:
        """The settings of this run; reading them prints their warnings.

        Raises:
            ConfigError: a file, a variable or an option is wrong.
        """
        from omniagent_cli.config.settings import load_settings

        settings = load_settings(self.environ, self.cwd, self.config_file, self.flags)
        self.terminal.configure(settings)
        for warning in settings.warnings:
            self.terminal.warn(warning)
        return settings

    @cached_property
    def stores(self) -> StoreOpener:
        """The opener of the store."""
        from omniagent_cli.cli.framework.store_opener import StoreOpener

        return StoreOpener(self.settings, self.keys, self.terminal)

    @property
    def store_choice(self) -> StoreChoice:
        """The store that the settings choose."""
        return self.stores.choice

    @property
    def store(self) -> SessionStore:
        """The store, for commands that work with existing sessions; see `StoreOpener.existing`."""
        return self.stores.existing()

    @property
    def store_to_create(self) -> SessionStore:
        """The store, for commands that may create a session; see `StoreOpener.to_create`."""
        return self.stores.to_create()

    @cached_property
    def last_used(self) -> LastUsedSession:
        """The session used last in this store by this user on this machine."""
        from omniagent_cli.config.last_used_session import LastUsedSession

        return LastUsedSession(self.store.url, self.environ)

    @cached_property
    def directory_sessions(self) -> DirectorySessions:
        """The sessions of this store by the directory of this machine where they began."""
        from omniagent_cli.config.directory_sessions import DirectorySessions

        return DirectorySessions(self.store_choice.location.url, self.environ)

    @cached_property
    def keys(self) -> KeyChain:
        """The providers' API keys: variables, the system keyring, or a private file."""
        from omniagent_cli.config.paths import config_dir
        from omniagent_cli.keys import KeyChain

        return KeyChain(config_dir(self.environ) / "keys.json", environ=self.environ)

    def update_completion(self) -> None:
        """Record the store and its newest ids for completion, for which reading the settings is too slow."""
        if (store := self._opened) is None:
            return
        from omniagent_cli.complete.id_cache import cache_ids
        from omniagent_cli.complete.store_pointer import write_pointer

        location, named = self.store_choice.location, self.flags.get("store.url")
        write_pointer(location.url, named, self.config_file, self.environ, str(self.cwd))
        cache_ids(store, location, self.environ)

    def forget_completion(self) -> None:
        """Remove the cached ids and titles of a store that turned out to be encrypted."""
        from omniagent_cli.complete.id_cache import forget_ids

        forget_ids(self.store_choice.location.url, self.environ)

    def close(self) -> None:
        """Close the store if it was opened."""
        if self._opened is not None:
            self._opened.close()

    @property
    def _opened(self) -> SessionStore | None:
        opener: StoreOpener | None = vars(self).get("stores")
        return opener.opened if opener else None


def current_context(ctx: typer.Context) -> Context:
    """Return the `Context` of the run that a command belongs to."""
    return cast("Context", ctx.obj)
