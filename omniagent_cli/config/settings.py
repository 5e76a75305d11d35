"""All settings of one run: default < user's file < trusted project file < environment < flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniagent_cli.config import layers, paths, project, sections
from omniagent_cli.config.resolved_value import Origin, ResolvedValue
from omniagent_cli.config.setting_names import Key, split_key
from omniagent_cli.config.settings_table import SETTINGS, find, is_table, require, unknown
from omniagent_cli.errors import ConfigError


class Settings:
    """The settings of one run, with their origins.

    Attributes:
        environ: the environment the settings were read from.
        user_file: the user's settings file, which may not exist.
        project_file: the project file, trusted or not, or None.
        warnings: lines to print on stderr, at most one for a project file.
    """

    def __init__(
        self,
        values: dict[Key, ResolvedValue],
        *,
        environ: Mapping[str, str],
        user_file: Path | None = None,
        project_file: Path | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._values = values
        self.environ = environ
        self.user_file = user_file
        self.project_file = project_file
        self.warnings = warnings
        self.store = sections.StoreSection(self.get, "store")
        self.sessions = sections.SessionsSection(self.get, "sessions")
        self.agent = sections.AgentSection(self.get, "agent")
        self.window = sections.WindowSection(self.get, "window")
        self.ask = sections.AskSection(self.get, "ask")
        self.chat = sections.ChatSection(self.get, "chat")
        self.display = sections.DisplaySection(self.get, "display")
        self.titles = sections.TitlesSection(self.get, "titles")
        self.rollover = sections.RolloverSection(self.get, "rollover")
        self.sync = sections.SyncSection(self.get, "sync")
        self.tools = sections.ToolsSection(self.get, "tools")

    @property
    def model(self) -> str | None:
        """The model as named; `chosen_model` resolves aliases and the provider."""
        named: str | None = self.lookup(("model",)).value
        return named

    @property
    def aliases(self) -> dict[str, str]:
        """Aliases of models."""
        return self.table(("models", "aliases"))

    @property
    def prices(self) -> dict[str, dict[str, float]]:
        """Dollars per million tokens: model -> input, output, cache_read, cache_write."""
        return self.table(("prices",))

    def get(self, name: str) -> Any:
        """Return the value of a setting, or a table of them as a dictionary.

        Raises:
            ConfigError: the setting does not exist; the message has close matches.
        """
        key = split_key(name)
        if find(key):
            return self.lookup(key).value
        if is_table(key):
            return self.table(key)
        raise ConfigError(unknown(key))

    def origin(self, name: str) -> Origin:
        """Return the origin of the value of a setting.

        Raises:
            ConfigError: the setting does not exist.
        """
        return self.lookup(require(name)[0]).origin

    def lookup(self, key: Key) -> ResolvedValue:
        """Return the value with its origin; the default when no layer sets it."""
        if found := self._values.get(key):
            return found
        setting = find(key)
        if setting is None:
            raise ConfigError(unknown(key))
        default = setting.default
        value = default if default is None else setting.kind.check(default)
        return ResolvedValue(setting, value, Origin("default"))

    def table(self, key: Key) -> dict[str, Any]:
        """Return all values below a name as nested dictionaries."""
        tree: dict[str, Any] = {}
        for full in self.keys():
            if full[: len(key)] == key and len(full) > len(key):
                node = tree
                for part in full[len(key) : -1]:
                    node = node.setdefault(part, {})
                node[full[-1]] = self.lookup(full).value
        return tree

    def keys(self) -> list[Key]:
        """Return every setting in the order of the table; names with ``*`` as far as they are set."""
        exact = {tuple(row.key.split(".")) for row in SETTINGS}
        free = sorted(key for key in self._values if key not in exact)
        found: list[Key] = []
        for row in SETTINGS:
            if "*" not in row.key:
                found.append(tuple(row.key.split(".")))
            else:
                found += [key for key in free if find(key) is row]
        return found


def load_settings(
    environ: Mapping[str, str],
    cwd: Path,
    config_file: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Read all layers.

    Args:
        environ: the environment variables.
        cwd: where the search for a project file starts.
        config_file: the value of ``--config``, which must exist.
        flags: settings of the command line by name; None means not given.

    Raises:
        ConfigError: a file cannot be read, or a value or name in any layer is invalid.
    """
    document = layers.user_document(environ, config_file)
    user = layers.from_user(document) if document else {}
    user_file = document.path if document else paths.config_path(environ, config_file)
    project_file, from_project, warning = project.load(cwd, environ, user, user_file)
    values = user | from_project
    values |= layers.from_environment(environ)
    values |= layers.from_flags(flags or {})
    return Settings(
        values,
        environ=environ,
        user_file=user_file,
        project_file=project_file,
        warnings=(warning,) if warning else (),
    )
