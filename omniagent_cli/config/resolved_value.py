"""A resolved value: a checked setting with its origin."""

from __future__ import annotations

from typing import Any, NamedTuple

from omniagent_cli.config.document import Document
from omniagent_cli.config.setting_names import Key, join_key
from omniagent_cli.config.settings_table import Setting
from omniagent_cli.config.value_types import InvalidValue
from omniagent_cli.errors import ConfigError

LAYERS = ("default", "user", "project", "environment", "flag")


class Origin:
    """Origin of a value; as text, a place that the user can edit.

    Attributes:
        layer: one of `LAYERS`.
        document: the file, for the layers ``user`` and ``project``.
    """

    __slots__ = ("_key", "_place", "document", "layer")

    def __init__(
        self, layer: str, place: str = "", *, document: Document | None = None, key: Key = ()
    ) -> None:
        self.layer = layer
        self.document = document
        self._place = place
        self._key = key

    def __str__(self) -> str:
        # Looked up on demand, because most origins are never printed.
        if self.document is not None:
            return self.document.place(self._key)
        return self._place or self.layer

    def __repr__(self) -> str:
        return f"Origin({self.layer!r}, {str(self)!r})"


class ResolvedValue(NamedTuple):
    """A checked value and its origin."""

    setting: Setting
    value: Any
    origin: Origin


def check_value(key: Key, setting: Setting, raw: Any, origin: Origin) -> ResolvedValue:
    """Check a value in the form of a file.

    Raises:
        ConfigError: it is invalid; the message names key, value, origin and valid values.
    """
    try:
        return ResolvedValue(setting, setting.kind.check(raw), origin)
    except InvalidValue as error:
        raise ConfigError(
            f"invalid {join_key(key)} {setting.kind.show_raw(raw)} ({origin}): must be {setting.kind.expected}"
        ) from error
