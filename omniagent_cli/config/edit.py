"""Editing of one setting in a file; every other byte stays the same.

Candidate texts are tried from the most natural on; the first whose data is exactly the old data with the change is
written. Without one, nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

from omniagent_cli import private_files as files
from omniagent_cli.config import toml_cut, toml_put
from omniagent_cli.config.document import Document, leaves
from omniagent_cli.config.resolved_value import Origin, check_value
from omniagent_cli.config.setting_names import Key, join_key, split_key
from omniagent_cli.config.settings_table import find, is_table, require
from omniagent_cli.errors import ConfigError

_BOM = b"\xef\xbb\xbf"


def set_value(path: Path, key: str, text: str) -> None:
    """Set one setting in a file, which is created if necessary.

    Args:
        path: the settings file.
        key: the name of the setting.
        text: its value as the user types it.

    Raises:
        ConfigError: the setting does not exist, the value is invalid, the file is not valid TOML, or it cannot be
            changed safely. The file is unchanged.
    """
    name, setting = require(key)
    raw = setting.kind.read(text)
    check_value(name, setting, raw, Origin("flag", "argument"))
    literal = _literal(name, raw)
    with files.locked_directory(_directory(path)):
        document = _read(path)
        expected = _with(document, name, raw)
        _write(document, toml_put.candidate_edits(document.text, name, literal), expected, key)


def add_value(path: Path, key: str, item: str) -> bool:
    """Add an item to a list setting in a file, which is created if necessary.

    Returns:
        False if the list contained it.

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
        check_value(name, setting, raw, Origin("flag", "argument"))
        expected = _with(document, name, raw)
        _write(
            document,
            toml_put.candidate_edits(document.text, name, _literal(name, raw)),
            expected,
            key,
        )
    return True


def unset_value(path: Path, key: str) -> bool:
    """Remove one setting or a whole table from a file; comments stay.

    Unknown keys can be removed too, which repairs a file with a typing error.

    Returns:
        True if it was set.

    Raises:
        ConfigError: neither the setting nor the entry exists, the file is not valid TOML, or it cannot be changed
            safely. The file is unchanged.
    """
    name = split_key(key)
    if not _exists(path):
        return _absent(key, name)
    with files.locked_directory(_directory(path)):
        document = _read(path)
        expected = deepcopy(document.data)
        if not _drop(expected, name):
            return _absent(key, name)
        _write(document, toml_cut.candidate_edits(document.text, name), expected, key)
    return True


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; choose another file") from error


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


def _write(
    document: Document, candidates: Iterable[str], expected: dict[str, Any], key: str
) -> None:
    bom = _BOM if document.content.startswith(_BOM) else b""
    for text in candidates:
        try:
            changed = Document(document.path, text.encode())
        except ConfigError:
            continue
        if _comparable(changed.data) == _comparable(expected):
            files.write_private(document.path, bom + changed.content)
            return
    raise ConfigError(
        f"{key} cannot be changed in {document.path} without other changes; edit the file"
    )


def _comparable(data: dict[str, Any]) -> list[str]:
    """Return the data in a form that distinguishes 1, 1.0 and true, and in which NaN equals NaN."""
    return sorted(repr(leaf) for leaf in leaves(data) if leaf[1] != {})


def _with(document: Document, name: Key, raw: Any) -> dict[str, Any]:
    data = deepcopy(document.data)
    node = data
    for depth, part in enumerate(name[:-1], start=1):
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise ConfigError(
                f"{join_key(name[:depth])} is not a table in {document.place(name[:depth])}; edit the file"
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
        raise ConfigError(f"{join_key(name)} must be valid Unicode text") from error
    return text
