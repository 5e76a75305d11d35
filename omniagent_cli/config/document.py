"""A parsed settings file: bytes, text, data, and the line of each key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniagent_cli.config.setting_names import Key
from omniagent_cli.errors import ConfigError

if TYPE_CHECKING:
    from omniagent_cli.config.toml_scan import Header, Pair

_PLACE = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


class Document:
    """A parsed TOML file.

    Attributes:
        path: the file.
        content: its bytes, which trust depends on.
        text: the same as text, with its line ends, without a byte order mark.
        data: its values.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        """Parse the bytes of a file.

        Raises:
            ConfigError: it is not UTF-8 or not TOML; the message names file, line and reason.
        """
        self.path = path
        self.content = content
        self.text = _decode(path, content)
        self.data = _parse(path, self.text)
        self._items: list[Header | Pair] | None = None

    def place(self, key: Key) -> str:
        """Return ``file:line`` of a key."""
        from omniagent_cli.config.toml_scan import position_of, scan

        if self._items is None:
            self._items = scan(self.text)
        position = position_of(self._items, key)
        if position is None:
            return str(self.path)
        line = self.text.count("\n", 0, position) + 1
        return f"{self.path}:{line}"


def leaves(data: dict[str, Any], above: Key = ()) -> Iterator[tuple[Key, Any]]:
    """Yield every value with its full name; an empty table is a value too."""
    for part, value in data.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*above, part))
        else:
            yield (*above, part), value


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8 text; save the file as UTF-8") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_explain(path, text, str(error))) from error
    except RecursionError as error:
        raise ConfigError(
            f"{path}: nested too deeply; settings are at most four levels deep"
        ) from error


def _explain(path: Path, text: str, message: str) -> str:
    found = _PLACE.search(message)
    if not found:
        return f"{path}: invalid TOML: {message}"
    reason = message[: found.start()]
    if found[1] is None:
        return f"{path}:{text.rstrip().count(chr(10)) + 1}: invalid TOML: {reason} at the end of the file"
    return f"{path}:{found[1]}: invalid TOML: {reason} at column {found[2]}"
