"""The YAML or JSON configuration of related projects, which is not read: its settings as TOML, to copy.

Source: OmniAgent's configuration: ``storage``, ``sessions`` and ``agent``, with durations as Go writes them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from omniagent_cli.config import paths
from omniagent_cli.durations import format_duration
from omniagent_cli.errors import ConfigError

_SAME = ("base_url", "temperature", "max_tokens", "system_prompt")
_TRANSLATED = frozenset(
    {
        *("storage.type", "storage.path", "storage.redis.url", "sessions.enabled", "sessions.ttl"),
        *("agent.provider", "agent.model", "agent.api_key", *(f"agent.{key}" for key in _SAME)),
    }
)
_GO_SECONDS = {"h": 3600, "m": 60, "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_GO_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)")


def refusal(path: Path, data: bytes, environ: Mapping[str, str]) -> ConfigError:
    """Return the error for a YAML or JSON file, with the TOML that has the same meaning."""
    import yaml

    try:
        document = yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError):
        document = None
    kind = "a JSON" if path.suffix.lower() == ".json" else "a YAML"
    start = f"{path} is {kind} file, but settings are read from TOML"
    if not isinstance(document, dict):
        return ConfigError(f"{start}; write them to a file such as {paths.config_path(environ)}")
    toml, notes = to_toml(document, environ)
    details = ("", *toml.splitlines(), *(f"# {note}" for note in notes))
    return ConfigError(f"{start}; write this to {paths.config_path(environ)}:", details=details)


def to_toml(document: Mapping[Any, Any], environ: Mapping[str, str]) -> tuple[str, list[str]]:
    """Translate settings.

    Args:
        document: the content of the file.
        environ: the environment variables, for paths that begin with ``~``.

    Returns:
        The TOML text, and notes about values that it does not contain.
    """
    import tomli_w

    found = dict(_leaves(document))
    notes = [f"{key}: no such setting" for key in found if key not in _TRANSLATED]
    tables: dict[str, Any] = {}
    model = str(found.get("agent.model") or "")
    provider = str(found.get("agent.provider") or "").lower()
    if model:
        tables["model"] = f"{provider}:{model}" if provider else model
    if url := _store_url(found, environ, notes):
        tables["store"] = {"url": url}
    sessions: dict[str, Any] = {}
    if isinstance(found.get("sessions.enabled"), bool):
        sessions["enabled"] = found["sessions.enabled"]
    if (ttl := found.get("sessions.ttl")) is not None:
        sessions["ttl"] = _duration(ttl, notes)
    agent = {key: found[f"agent.{key}"] for key in _SAME if found.get(f"agent.{key}") is not None}
    if provider and not model:
        agent["provider"] = provider
    if found.get("agent.api_key"):
        notes.append(
            f"agent.api_key: store the key with: omniagent keys set {provider or 'PROVIDER'}"
        )
    tables |= {key: table for key, table in (("sessions", sessions), ("agent", agent)) if table}
    return tomli_w.dumps(tables), notes


def _leaves(document: Mapping[Any, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys and their values, at most three levels deep."""
    found: list[tuple[str, Any]] = []
    for name, value in document.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and value and key.count(".") < 2:
            found += _leaves(value, f"{key}.")
        else:
            found.append((key, value))
    return found


def _store_url(found: Mapping[str, Any], environ: Mapping[str, str], notes: list[str]) -> str:
    kind = str(found.get("storage.type") or "").lower()
    path, redis = found.get("storage.path"), found.get("storage.redis.url")
    kind = kind or ("sqlite" if path else "redis" if redis else "")
    if kind == "memory":
        return "memory:"
    if kind == "redis" and redis:
        return str(redis)
    if kind == "sqlite" and path:
        return paths.sqlite_url(paths.expand(str(path), environ).absolute())
    if kind not in ("", "sqlite"):
        notes.append(
            f"storage.type: {kind} must be sqlite, redis with storage.redis.url, or memory"
        )
    return ""


def _duration(value: Any, notes: list[str]) -> Any:
    """Return a duration of Go, such as ``168h0m0s``, or in nanoseconds, as omniagent writes it."""
    parts = _GO_PART.findall(value) if isinstance(value, str) else []
    if parts and "".join(number + unit for number, unit in parts) == value:
        seconds = sum(float(number) * _GO_SECONDS[unit] for number, unit in parts)
    elif isinstance(value, int | float) and math.isfinite(value):
        seconds = value * _GO_SECONDS["ns"]
    elif value in ("0", ""):
        seconds = 0
    else:
        notes.append(f"sessions.ttl: {value} is not a duration")
        return "never"
    try:
        return format_duration(timedelta(seconds=seconds))
    except OverflowError:
        return "never"
