"""Settings as rows for display: name, value without secrets, origin, help."""

from __future__ import annotations

from typing import Any, NamedTuple

from omniagent_cli.config.setting_names import Key, join_key, split_key
from omniagent_cli.config.settings import Settings
from omniagent_cli.config.settings_table import find, is_table, unknown
from omniagent_cli.errors import ConfigError


class SettingRow(NamedTuple):
    """One setting for display.

    Attributes:
        key: the name.
        value: a JSON value without secrets; None when unset.
        text: the value as the user would type it; empty when unset.
        layer: ``default``, ``user``, ``project``, ``environment`` or ``flag``.
        origin: the place where it is set.
        help: one line.
        variables: the environment variables that set it.
    """

    key: str
    value: Any
    text: str
    layer: str
    origin: str
    help: str
    variables: tuple[str, ...]


def describe(settings: Settings, name: str = "") -> list[SettingRow]:
    """Return the rows of a setting or a table; without a name, of all settings.

    Raises:
        ConfigError: the setting does not exist.
    """
    if not name:
        return [_row(settings, key) for key in settings.keys()]  # noqa: SIM118 - not a mapping
    wanted = split_key(name)
    if find(wanted):
        return [_row(settings, wanted)]
    if not is_table(wanted):
        raise ConfigError(unknown(wanted))
    below = [key for key in settings.keys() if key[: len(wanted)] == wanted]  # noqa: SIM118
    return [_row(settings, key) for key in below]


def _row(settings: Settings, key: Key) -> SettingRow:
    setting, value, origin = settings.lookup(key)
    # A duration of None is "never"; anything else that is None is unset.
    shown = setting.kind.show(value) if value is not None or setting.default is not None else None
    if isinstance(shown, tuple):
        shown = list(shown)
    return SettingRow(
        join_key(key),
        shown,
        _text(shown),
        origin.layer,
        str(origin),
        setting.help,
        setting.variables,
    )


def _text(shown: Any) -> str:
    if shown is None:
        return ""
    if isinstance(shown, bool):
        return "true" if shown else "false"
    if isinstance(shown, list):
        import json

        return json.dumps(shown, ensure_ascii=False)
    return str(shown)
