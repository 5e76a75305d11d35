"""One value in use: what it is and where it came from."""

from __future__ import annotations

from typing import Any, NamedTuple

from omniagent_cli.config.document import Document
from omniagent_cli.config.setting_names import Key, join_key
from omniagent_cli.config.settings_table import Setting
from omniagent_cli.config.value_types import Unfit
from omniagent_cli.errors import ConfigError

LAYERS = ("default", "user", "project", "environment", "flag")


class Origin:
    """Where a value came from; as text, a place a person can go to.

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
        # The line of a key is looked up only when somebody asks: most values are never told about.
        if self.document is not None:
            return self.document.place(self._key)
        return self._place or self.layer

    def __repr__(self) -> str:
        return f"Origin({self.layer!r}, {str(self)!r})"


class Value(NamedTuple):
    """A checked value and its origin."""

    setting: Setting
    value: Any
    origin: Origin


def checked(key: Key, setting: Setting, raw: Any, origin: Origin) -> Value:
    """Check a value as a file would give it.

    Raises:
        ConfigError: it is wrong; the message names key, value, origin, and what would be right.
    """
    try:
        return Value(setting, setting.kind.check(raw), origin)
    except Unfit as error:
        raise ConfigError(
            f"{join_key(key)} cannot be {setting.kind.show_raw(raw)} ({origin}); give {setting.kind.expected}"
        ) from error
