"""Session ids of a JSON-file store: from the names of its files, with titles where its index has them."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUFFIX = ".jsonl"
_LARGEST_INDEX = 8_000_000
_END_BYTES = 65_536
_HEADER = b'{"header"'
_TAGS_AT_MOST = 10_000
# Fields of a header as the store's index writes them.
_ID, _EXPIRES_AT, _PINNED, _ARCHIVED, _PAYLOAD = 1, 7, 11, 12, 15


def from_directory(path: str, prefix: str, which: str, limit: int) -> list[tuple[str, str]]:
    """Return ids and titles, those whose file changed last first."""
    if which == "session:trashed":
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
            if session_id and session_id.startswith(prefix) and _fits(header, which, prefix, now):
                found.append((entry.stat().st_mtime_ns, session_id, header))
    found.sort(key=lambda one: one[:2], reverse=True)
    return [(session_id, _title(header)) for _, session_id, header in found[:limit]]


def data_of(path: str, session_id: str) -> dict[str, Any]:
    """Return title, metadata and state of a session as the end of its file has them; empty when that is not to be had."""
    indexed = (name for name, header in _index(path).items() if header[_ID] == session_id)
    listed = (name for name in os.listdir(path) if _is_of(name, session_id))  # noqa: PTH208
    name = next(indexed, "") or next(listed, "")
    return _data(f"{path}/{name}") if name else {}


def tags_in(path: str) -> list[str]:
    """Return the tags of all sessions that the index knows, each as often as there are sessions with it."""
    import json

    found: list[str] = []
    for header in _index(path).values():
        if b"tags" not in header[_PAYLOAD].encode("utf-8", "replace") or len(found) > _TAGS_AT_MOST:
            continue
        try:
            tags = json.loads(header[_PAYLOAD])["metadata"]["tags"]
        except (ValueError, TypeError, KeyError):
            continue
        found += [tag for tag in tags if isinstance(tag, str)]
    return found


def _trashed(path: str, prefix: str, limit: int) -> list[tuple[str, str]]:
    """Return what a deletion or trim put away, the newest first, from the ends of the newest hidden files."""
    try:
        with os.scandir(f"{path}/.omniagent/hidden") as entries:
            files = sorted((entry.stat().st_mtime_ns, entry.path) for entry in entries)
    except OSError:
        return []
    found: dict[str, str] = {}
    for _, name in files[: -limit - 1 : -1]:
        data = _data(name)
        try:
            session_id, title = data["trash"]["id"], data.get("title", "")
        except (TypeError, KeyError):
            continue
        if isinstance(session_id, str) and session_id.startswith(prefix):
            found.setdefault(session_id, title if isinstance(title, str) else "")
    return list(found.items())


def _data(name: str) -> dict[str, Any]:
    """Return the data of the last header near the end of a log; it may say where an earlier line has them."""
    import json

    try:
        with open(name, "rb") as file:  # noqa: PTH123
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _END_BYTES))
            lines = file.read().split(b"\n")
            record = json.loads(next(one for one in reversed(lines) if one.startswith(_HEADER)))
            if "data" not in record:
                file.seek(record["log"]["data_at"])
                record = json.loads(file.readline(_END_BYTES))
        data = record["data"]
    except (OSError, ValueError, TypeError, KeyError, StopIteration):
        return {}
    return data if isinstance(data, dict) else {}


def _is_of(name: str, session_id: str) -> bool:
    return name.endswith(_SUFFIX) and _session_id(name) == session_id


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


def _fits(header: list[Any] | None, which: str, prefix: str, now: str) -> bool:
    if header is None:
        return which == "session"
    if header[_EXPIRES_AT] and header[_EXPIRES_AT] < now:
        return False
    if which == "session:archived":
        return bool(header[_ARCHIVED])
    if which == "session:pinned":
        return bool(header[_PINNED])
    return bool(prefix) or not header[_ARCHIVED]


def _session_id(name: str) -> str:
    """Read an id back from its file's name, as `stores.jsonl.names` writes it; empty for one that was cut."""
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
