"""Title, metadata and state of a session as single facts, of which a header line has those that changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SECTIONS = ("metadata", "state", "tags", "stamps", "unknown")
"""Facts of a header line that are objects, of which each key is a fact of its own."""

Path = tuple[str, ...]


def flatten(data: dict[str, Any]) -> dict[Path, Any]:
    """Return title, metadata, state and unknown keys of a session as single facts."""
    facts: dict[Path, Any] = {}
    for key, value in data.items():
        if key not in ("metadata", "state", "stamps") or not isinstance(value, dict):
            facts[(key,) if key in ("title", "title_source", "trash") else ("unknown", key)] = value
            continue
        for name, single in value.items():
            if (key, name) == ("metadata", "tags") and _are_tags(single):
                facts |= {("tags", tag): True for tag in single}
            else:
                facts[key, name] = single
    return facts


def _are_tags(value: Any) -> bool:
    texts = isinstance(value, list) and bool(value) and all(isinstance(tag, str) for tag in value)
    return texts and value == sorted(set(value))


def unflatten(facts: Iterable[tuple[Path, Any]]) -> dict[str, Any]:
    """Return the session data of single facts; the inverse of `flatten`."""
    data: dict[str, Any] = {}
    tags: list[str] = []
    for path, value in facts:
        if path[0] == "tags":
            tags.append(path[1])
            data.setdefault("metadata", {}).setdefault("tags", tags)
        elif path[0] == "unknown":
            data[path[1]] = value
        elif len(path) == 2:
            data.setdefault(path[0], {})[path[1]] = value
        else:
            data[path[0]] = value
    tags.sort()
    return data


def nest(facts: dict[Path, Any]) -> dict[str, Any]:
    """Return single facts in the form of a header line."""
    header: dict[str, Any] = {}
    for path, value in facts.items():
        if len(path) == 2:
            header.setdefault(path[0], {})[path[1]] = value
        else:
            header[path[0]] = value
    return header


def single_facts(header: dict[str, Any]) -> Iterable[tuple[Path, Any]]:
    """Yield the facts of a header line; the inverse of `nest`."""
    for key, value in header.items():
        if key in SECTIONS and isinstance(value, dict):
            yield from (((key, name), single) for name, single in value.items())
        else:
            yield (key,), value
