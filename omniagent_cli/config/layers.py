"""Layers of settings above the defaults: the user's file, the environment, the flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omniagent_cli import private_files as files
from omniagent_cli.config import paths
from omniagent_cli.config.document import Document, leaves
from omniagent_cli.config.resolved_value import Origin, ResolvedValue, check_value
from omniagent_cli.config.setting_names import Key
from omniagent_cli.config.settings_table import SETTINGS, find, is_table, require, unknown
from omniagent_cli.errors import ConfigError

_STORE_KEY = ("store", "url")
_OTHER_FORMATS = (".yaml", ".yml", ".json")


def user_document(environ: Mapping[str, str], config_file: str | Path | None) -> Document | None:
    """Read the user's file; return None when it does not exist and was not named.

    Raises:
        ConfigError: it cannot be read, is not TOML, or was named and does not exist.
    """
    path = paths.config_path(environ, config_file)
    try:
        data = files.read_bounded(path)
        if path.suffix.lower() in _OTHER_FORMATS:
            from omniagent_cli.config import yaml_settings

            raise yaml_settings.refusal(path, data, environ)
        return Document(path, data)
    except FileNotFoundError as error:
        named = (
            "--config"
            if config_file
            else "OMNIAGENT_CONFIG" * bool(environ.get("OMNIAGENT_CONFIG"))
        )
        if named:
            raise ConfigError(
                f"{named} names {path}, which does not exist; create it or choose another"
            ) from error
        return None
    except OSError as error:
        raise ConfigError(
            f"cannot read {path}: {error.strerror or error}; repair it, or choose another file with --config"
        ) from error


def from_user(document: Document) -> dict[Key, ResolvedValue]:
    """Check the values of the user's file.

    Raises:
        ConfigError: a value is invalid, or a key is unknown: a typing error must not be ignored.
    """
    values = {}
    for key, raw in leaves(document.data):
        if setting := find(key):
            origin = Origin("user", document=document, key=key)
            values[key] = check_value(key, setting, raw, origin)
        elif raw != {} or not is_table(key):
            raise ConfigError(f"{document.place(key)}: {unknown(key)}")
    return values


def from_environment(environ: Mapping[str, str]) -> dict[Key, ResolvedValue]:
    """Check the environment variables of the table; an empty one is unset.

    Raises:
        ConfigError: a value is invalid.
    """
    values = {}
    for setting in SETTINGS:
        for variable in setting.variables:
            if text := environ.get(variable):
                key = tuple(setting.key.split("."))
                origin = Origin("environment", f"variable {variable}")
                values[key] = check_value(key, setting, setting.kind.read(text), origin)
                break
    if _STORE_KEY not in values and (store := _seed_store(environ)):
        values[_STORE_KEY] = store
    return values


def from_flags(flags: Mapping[str, Any]) -> dict[Key, ResolvedValue]:
    """Check the settings of the command line; None means not given, text is parsed by type.

    Raises:
        ConfigError: a value is invalid.
    """
    values = {}
    for name, given in flags.items():
        if given is None:
            continue
        key, setting = require(name)
        raw = setting.kind.read(given) if isinstance(given, str) else given
        values[key] = check_value(key, setting, raw, Origin("flag", setting.flag))
    return values


def _seed_store(environ: Mapping[str, str]) -> ResolvedValue | None:
    """Return the store of the older OMNIAGENT_STORAGE_* variables."""
    kind = environ.get("OMNIAGENT_STORAGE_TYPE", "").strip().lower()
    path = environ.get("OMNIAGENT_STORAGE_PATH", "")
    url = environ.get("OMNIAGENT_STORAGE_REDIS_URL", "")
    if kind not in {"", "sqlite", "redis", "memory"}:
        raise ConfigError(
            f"invalid OMNIAGENT_STORAGE_TYPE {kind!r}: must be sqlite, redis or memory; or set OMNIAGENT_STORE to a URL"
        )
    if kind == "redis" and not url:
        raise ConfigError(
            "OMNIAGENT_STORAGE_TYPE is redis, but OMNIAGENT_STORAGE_REDIS_URL is not set; set it to a URL such as redis://localhost"
        )
    kind = kind or ("sqlite" if path else "redis" if url else "")
    if not kind:
        return None
    if kind == "memory":
        return _store("memory:", "OMNIAGENT_STORAGE_TYPE")
    if kind == "redis":
        return _store(url, "OMNIAGENT_STORAGE_REDIS_URL")
    if path:
        return _store(
            paths.sqlite_url(paths.expand(path, environ).absolute()), "OMNIAGENT_STORAGE_PATH"
        )
    return _store(paths.default_store_url(environ), "OMNIAGENT_STORAGE_TYPE")


def _store(url: str, variable: str) -> ResolvedValue:
    _, setting = require("store.url")
    return check_value(_STORE_KEY, setting, url, Origin("environment", f"variable {variable}"))
