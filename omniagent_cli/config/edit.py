"""Changing one setting in a file, leaving every other byte as it was.

Several ways to write the change are tried in the order a person would prefer them; the first whose text means
exactly the old data with the change made is written. When none does, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from omniagent_cli import private_files as files
from omniagent_cli.config import toml_cut, toml_put
from omniagent_cli.config.document import Document, leaves
from omniagent_cli.config.resolved_value import Origin, checked
from omniagent_cli.config.setting_names import Key, join_key, split_key
from omniagent_cli.config.settings_table import find, is_table, require
from omniagent_cli.errors import ConfigError

_BOM = b"\xef\xbb\xbf"


def set_value(path: Path, key: str, text: str) -> None:
    """Set one setting in a file, which is created when it is missing.

    Args:
        path: the settings file.
        key: the name of the setting.
        text: its value as a person types it; the table of settings says what it is.

    Raises:
        ConfigError: there is no such setting, the value is wrong, the file is not valid TOML, or it cannot be
            changed safely. The file is as it was then.
    """
    name, setting = require(key)
    raw = setting.kind.read(text)
    checked(name, setting, raw, Origin("flag", "as given"))
    literal = _literal(name, raw)
    with files.locked_directory(_directory(path)):
        document = _read(path)
        expected = _with(document, name, raw)
        _write(document, toml_put.ways(document.text, name, literal), expected, key)


def add_value(path: Path, key: str, item: str) -> bool:
    """Add an item to a setting that is a list, in a file, which is created when it is missing.

    Returns:
        Whether it was not there yet.

    Raises:
        ConfigError: as for `set_value`.
    """
    name, setting = require(key)
    with files.locked_directory(_directory(path)):
        document = _read(path)
        found: Any = document.data
        for part in name:
            found = found.get(part) if isinstance(found, dict) else None
        before = found if isinstance(found, list) else []
        if item in before:
            return False
        raw = [*before, item]
        checked(name, setting, raw, Origin("flag", "as given"))
        expected = _with(document, name, raw)
        _write(document, toml_put.ways(document.text, name, _literal(name, raw)), expected, key)
    return True


def unset_value(path: Path, key: str) -> bool:
    """Remove one setting, or a whole table the person named, from a file; comments stay.

    A key that is none of ours can be removed too, because that is how a file with a typing error is mended.

    Returns:
        Whether it was there.

    Raises:
        ConfigError: there is neither such a setting nor such an entry, the file is not valid TOML, or it cannot be
            changed safely. The file is as it was then.
    """
    name = split_key(key)
    if not _there(path):
        return _absent(key, name)
    with files.locked_directory(_directory(path)):
        document = _read(path)
        expected = deepcopy(document.data)
        if not _drop(expected, name):
            return _absent(key, name)
        _write(document, toml_cut.ways(document.text, name), expected, key)
    return True


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; name another file") from error


def _absent(key: str, name: Key) -> bool:
    if not find(name) and not is_table(name):
        require(key)
    return False


def _directory(path: Path) -> Path:
    return path.resolve().parent


def _read(path: Path) -> Document:
    try:
        return Document(path, files.read_bounded(path))
    except FileNotFoundError:
        return Document(path, b"")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _write(document: Document, ways: Iterable[str], expected: dict[str, Any], key: str) -> None:
    bom = _BOM if document.content.startswith(_BOM) else b""
    for text in ways:
        try:
            changed = Document(document.path, text.encode())
        except ConfigError:
            continue
        if _meaning(changed.data) == _meaning(expected):
            files.write_private(document.path, bom + changed.content)
            return
    raise ConfigError(
        f"{key} cannot be changed in {document.path} without damage to the rest; change it there by hand"
    )


def _meaning(data: dict[str, Any]) -> list[str]:
    """Return the data in a form that tells 1, 1.0 and true apart, and in which NaN equals itself."""
    return sorted(repr(leaf) for leaf in leaves(data) if leaf[1] != {})


def _with(document: Document, name: Key, raw: Any) -> dict[str, Any]:
    data = deepcopy(document.data)
    node = data
    for depth, part in enumerate(name[:-1], start=1):
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(
                f"{join_key(name[:depth])} is no table in {document.place(name[:depth])}; change that by hand first"
            )
    node[name[-1]] = raw
    return data


def _drop(data: dict[str, Any], name: Key) -> bool:
    node: Any = data
    for part in name[:-1]:
        node = node.get(part)
        if not isinstance(node, dict):
            return False
    if name[-1] not in node:
        return False
    del node[name[-1]]
    return True


def _literal(name: Key, raw: Any) -> str:
    import tomli_w

    try:
        text = tomli_w.dumps({"v": raw}).removeprefix("v = ").rstrip("\n")
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"{join_key(name)} cannot hold bytes that are not text; give text"
        ) from error
    return text
