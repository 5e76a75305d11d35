"""Facts of a session that users set, each with the stamp of its last change, so that the last writer wins on each.

A stamp is a time as `json_format.format_time` writes it: that of the change, or a microsecond after the session's
latest stamp if the clock is behind (a hybrid logical clock). The stamps are an object in the header's data, by fact:
``title``, ``id``, ``model``, ``agent``, ``ttl``, ``metadata/KEY``, ``state/KEY``, ``tags/TAG``, and ``data/KEY`` for
other keys. A stamp without its fact is the tombstone of a fact that was removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.stores.backend import HeaderRow

STAMPS = "stamps"
"""Key of the stamps in a header's data."""

UIDS = "uids"
"""Key, in a header's data, of the uids that a session has in all stores it was synchronized with, if they differ."""

DELETED = "@deleted"
"""Stamp of the deletion of a session that was brought back by a message written without knowledge of it."""

BEGUN = "@begun"
"""Stamp of the creation of a session under the id of a deleted one."""

OWN_KEYS = frozenset(
    {"title", "title_source", "metadata", "state", "trash", "migration", STAMPS, UIDS}
)
"""Keys of a header's data that are not facts of the kind ``data/KEY``."""

Facts = dict[str, Any]


def later(moment: str, *stamps: str) -> str:
    """Return the stamp of a change: the moment, or a microsecond after the latest of other stamps."""
    latest = max(stamps, default="")
    if moment > latest:
        return moment
    try:
        return format_time(parse_time(latest) + timedelta(microseconds=1))
    except (
        OverflowError,
        InvalidRecord,
    ):  # the last possible time, or a text that is not a time
        return max(moment, latest)


def facts_of(header: HeaderRow, data: Mapping[str, Any]) -> Facts:
    """Return the facts of a session by name; `assign` is the inverse."""
    facts: Facts = {"id": header.id}
    facts["ttl"] = None if header.ttl_seconds is None else float(header.ttl_seconds)
    if title := data.get("title"):
        facts["title"] = [title, data.get("title_source", "")]
    for name, value in (("model", header.model), ("agent", header.agent_id)):
        if value:
            facts[name] = value
    for section in ("metadata", "state"):
        for key, value in (data.get(section) or {}).items():
            if (section, key) == ("metadata", "tags") and are_tags(value):
                facts |= {f"tags/{tag}": True for tag in value}
            else:
                facts[f"{section}/{key}"] = value
    facts |= {f"data/{key}": value for key, value in data.items() if key not in OWN_KEYS}
    return facts


def assign(facts: Mapping[str, Any], header: HeaderRow) -> dict[str, Any]:
    """Set the columns of a header and return its data, without stamps."""
    data: dict[str, Any] = {}
    tags: list[str] = []
    header.id, header.ttl_seconds = facts["id"], facts.get("ttl")
    header.model, header.agent_id = facts.get("model", ""), facts.get("agent", "")
    if "title" in facts:
        data["title"], data["title_source"] = facts["title"]
    for name in sorted(facts):
        section, _, key = name.partition("/")
        if section == "tags":
            tags.append(key)
        elif section in ("metadata", "state"):
            data.setdefault(section, {})[key] = facts[name]
        elif section == "data":
            data[key] = facts[name]
    if tags:
        data.setdefault("metadata", {})["tags"] = sorted(tags)
    return data


def are_tags(value: Any) -> bool:
    """Return True if a value is a list of tags, each of which is a fact of its own."""
    return isinstance(value, list) and bool(value) and all(isinstance(tag, str) for tag in value)


def stamps_of(data: Mapping[str, Any]) -> dict[str, str]:
    """Return the stamps in a header's data; damaged ones are ignored."""
    stamps = data.get(STAMPS)
    if not isinstance(stamps, dict):
        return {}
    return {name: stamp for name, stamp in stamps.items() if isinstance(stamp, str)}


def restamp(before: Facts, header: HeaderRow, data: dict[str, Any], moment: str) -> None:
    """Stamp the facts of a header that differ from `before`, in its data.

    Args:
        before: the facts before the change.
        header: the changed header.
        data: its changed data.
        moment: the time of the change.
    """
    after = facts_of(header, data)
    changed = [
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or before[name] != after[name]
    ]
    if changed:
        stamps = stamps_of(data)
        stamp = later(moment, *stamps.values())
        data[STAMPS] = {**stamps, **dict.fromkeys(sorted(changed), stamp)}
