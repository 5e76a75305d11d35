"""Session ids, titles, values and tags of a JSON-file store for completion: from file names and the index, few imports."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUFFIX = ".jsonl"
_LARGEST_INDEX = 8_000_000
_LARGEST_LOG = 1_000_000
_MAX_TAGS = 10_000
# Positions of the fields of a header in the index, see `index`.
_ID, _EXPIRES_AT, _PINNED, _ARCHIVED, _PAYLOAD = 1, 7, 11, 12, -1


def session_ids(path: str, prefix: str, group: str, limit: int) -> list[tuple[str, str]]:
    """Return ids that start with a prefix, and titles, the most recently changed first.

    Args:
        path: the store directory.
        prefix: start of the ids.
        group: ``""`` (active), ``archived``, ``pinned`` or ``trashed``.
        limit: maximum number of ids.
    """
    if group == "trashed":
        return _trashed(path, prefix, limit)
    index = _index(path)
    now = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    found = []
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.endswith(_SUFFIX):
                continue
            header = index.get(entry.name)
            session_id = header[_ID] if header else _session_id(entry.name)
            if (
                session_id
                and session_id.startswith(prefix)
                and _belongs(header, group, prefix, now)
            ):
                found.append((entry.stat().st_mtime_ns, session_id, header))
    found.sort(key=lambda one: one[:2], reverse=True)
    return [(session_id, _title(header)) for _, session_id, header in found[:limit]]


def values(path: str, session_id: str, section: str) -> list[tuple[str, str]]:
    """Return the keys of a session's ``metadata`` or ``state``, with their values as text."""
    import json

    facts = _session_facts(path, session_id)
    stored = {key[1]: value for key, value in facts.items() if key[0] == section and len(key) == 2}
    if section == "metadata" and (tags := sorted(key[1] for key in facts if key[0] == "tags")):
        stored.setdefault("tags", tags)
    return [
        (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in stored.items()
    ]


def tags(path: str) -> list[str]:
    """Return the tags of all sessions in the index, one for each session that has it."""
    import json

    found: list[str] = []
    for header in _index(path).values():
        if b"tags" not in header[_PAYLOAD].encode("utf-8", "replace") or len(found) > _MAX_TAGS:
            continue
        try:
            own = json.loads(header[_PAYLOAD])["metadata"]["tags"]
        except (ValueError, TypeError, KeyError):
            continue
        found += [tag for tag in own if isinstance(tag, str)]
    return found


def _session_facts(path: str, session_id: str) -> dict[tuple[str, ...], Any]:
    """Return title, metadata and state of a session as single facts; empty if they cannot be read."""
    indexed = (name for name, header in _index(path).items() if header[_ID] == session_id)
    listed = (
        name
        for name in os.listdir(path)  # noqa: PTH208
        if name.endswith(_SUFFIX) and _session_id(name) == session_id
    )
    name = next(indexed, "") or next(listed, "")
    return _facts(f"{path}/{name}", f"{path}/.omniagent/cache/{name}.json") if name else {}


def _trashed(path: str, prefix: str, limit: int) -> list[tuple[str, str]]:
    """Return the ids that trash entries were removed from, newest first, from the newest hidden files."""
    try:
        with os.scandir(f"{path}/.omniagent/hidden") as entries:
            files = sorted((entry.stat().st_mtime_ns, entry.name, entry.path) for entry in entries)
    except OSError:
        return []
    found: dict[str, str] = {}
    for _, name, log in files[: -limit - 1 : -1]:
        facts = _facts(log, f"{path}/.omniagent/cache/={name}.json")
        try:
            session_id, title = facts["trash",]["id"], facts.get(("title",), "")
        except (TypeError, KeyError):
            continue
        if isinstance(session_id, str) and session_id.startswith(prefix):
            found.setdefault(session_id, title if isinstance(title, str) else "")
    return list(found.items())


def _facts(log: str, cache: str) -> dict[tuple[str, ...], Any]:
    """Return the facts of the header lines of a log; of a large one, those in its cache."""
    import json

    facts: dict[tuple[str, ...], Any] = {}
    try:
        if os.stat(log).st_size > _LARGEST_LOG:  # noqa: PTH116
            with open(cache, "rb") as file:  # noqa: PTH123
                return {tuple(key): value for key, _, value in json.load(file)["state"]["facts"]}
        with open(log, "rb") as file:  # noqa: PTH123
            for line in file:
                if line.startswith((b'{"format"', b'{"header"')):
                    record = json.loads(line)
                    for key in record.get("unset", ()):
                        facts.pop(tuple(key), None)
                    for name, value in record.get("header", {}).items():
                        if name in ("metadata", "state", "tags") and isinstance(value, dict):
                            facts |= {(name, key): single for key, single in value.items()}
                        else:
                            facts[name,] = value
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    return facts


def _index(path: str) -> dict[str, list[Any]]:
    import json

    try:
        file_name = f"{path}/.omniagent/index.json"
        if os.stat(file_name).st_size > _LARGEST_INDEX:  # noqa: PTH116
            return {}
        with open(file_name, "rb") as file:  # noqa: PTH123
            record = json.load(file)
        return {row[0]: row[4] for row in record["files"] if row[4]}
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return {}


def _belongs(header: list[Any] | None, group: str, prefix: str, now: str) -> bool:
    if header is None:
        return not group
    if header[_EXPIRES_AT] and header[_EXPIRES_AT] < now:
        return False
    if group == "archived":
        return bool(header[_ARCHIVED])
    if group == "pinned":
        return bool(header[_PINNED])
    return bool(prefix) or not header[_ARCHIVED]


def _session_id(name: str) -> str:
    """Decode an id from a file name encoded by `names`; empty if the name was shortened."""
    stem = name.removesuffix(_SUFFIX)
    data, index = bytearray(), 0
    while index < len(stem):
        character = stem[index]
        if character == "~":
            return ""
        if character == "%":
            data.append(int(stem[index + 1 : index + 3], 16))
            index += 2
        elif character == "+":
            index += 1
            data += stem[index].upper().encode()
        else:
            data += character.encode()
        index += 1
    return data.decode("utf-8", "replace")


def _title(header: list[Any] | None) -> str:
    import json

    try:
        title = json.loads(header[_PAYLOAD])["title"] if header else ""
    except (ValueError, TypeError, KeyError, IndexError):
        return ""
    return title if isinstance(title, str) else ""
