"""Session ids, titles, values and tags of a SQLite store for completion: read-only, bounded in time, few imports."""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from sqlite3 import Connection

    Pairs = list[tuple[str, str]]
    Key = tuple[int, str, int, str]
    """Row number, id, pinned, time of the last change."""

_MANY = 1000
"""Matching sessions up to which all are sorted by time; beyond, the newest of all sessions are searched first."""

_TAG_SESSIONS = 1000
"""Newest sessions whose tags are read."""

_MAX_VALUES = 10_000
_WAIT_SECONDS = 0.05
"""Time to wait for a locked database."""

_CPU_SECONDS = 0.05
"""CPU time after which the values and tags read so far are returned."""

_STEPS = 20_000
"""SQLite virtual-machine steps between two looks at the clock."""

_MAGIC = b"SQLite format 3\x00"
_APPLICATION_ID = b"omni"

_ALIVE = "(expires_at IS NULL OR expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
# Compressed and encrypted payloads are not JSON and have no title here; huge ones are skipped to save time.
_JSON = "CASE WHEN length(payload) < {} AND json_valid(CAST(payload AS TEXT)) THEN CAST(payload AS TEXT) END"
_PAYLOAD = _JSON.format(1 << 18)
_TIMED_PAYLOAD = _JSON.format(1 << 20)  # holds 10,000 tags with the times of their changes
_ACTIVE = "{0}hidden = 0 AND {0}archived = 0"
_ARCHIVED = "{0}hidden = 0 AND {0}archived = 1"
_PINNED = _ACTIVE + " AND {0}pinned = 1"
_GROUPS = {"archived": (_ARCHIVED,), "pinned": (_PINNED,)}
_BY_TIME = ""
_BY_ID = "+"
"""Unary plus keeps SQLite from using an index on that column, so that it uses the one on ids."""

_VALUES = (
    "SELECT j.key, substr(j.value, 1, 20000) FROM sessions, json_each("  # noqa: S608  # constants
    + _TIMED_PAYLOAD
    + ", '$.{}') AS j WHERE sessions.id = ?"
)
_TAGS = (
    f"SELECT j.value, '' FROM (SELECT {_TIMED_PAYLOAD} AS whole FROM sessions WHERE hidden = 0 "  # noqa: S608
    f"AND archived = 0 ORDER BY pinned DESC, updated_at DESC LIMIT {_TAG_SESSIONS}) AS s, "
    "json_each(s.whole, '$.metadata.tags') AS j"
)


def session_ids(path: str, prefix: str, group: str, limit: int) -> Pairs:
    """Return ids that start with a prefix, and titles, newest first.

    Args:
        path: the store file.
        prefix: start of the ids.
        group: ``""`` (active), ``archived``, ``pinned`` or ``trashed``.
        limit: maximum number of ids.
    """
    connection = _open(path)
    if connection is None:
        return []
    try:
        if group == "trashed":
            return _trashed(connection, prefix)[:limit]
        # Archived sessions are listed only once the user has typed a prefix.
        groups = _GROUPS.get(group) or ((_ACTIVE, _ARCHIVED) if prefix else (_ACTIVE,))
        keys: list[Key] = []
        for condition in groups:
            if len(keys) < limit:
                keys += _keys_of(connection, prefix, condition, limit)
        return _with_titles(connection, keys[:limit])
    finally:
        connection.close()


def values(path: str, session_id: str, section: str) -> Pairs:
    """Return the keys of a session's ``metadata`` or ``state``, with their values as text."""
    return _within_time(path, _VALUES.format(section), (session_id,))


def tags(path: str) -> list[str]:
    """Return the tags of the newest sessions, one for each session that has it."""
    return [tag for tag, _ in _within_time(path, _TAGS, ())]


def _open(path: str) -> Connection | None:
    """Open a store file without changing anything; return None if it is not an omniagent store."""
    uri = _uri(path)
    if uri is None:
        return None
    import sqlite3

    connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
    connection.text_factory = _decode  # one broken title must not hide all the others
    return connection


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _uri(path: str) -> str | None:
    """Return a URI that opens the file without creating even SQLite's side files."""
    path = os.path.abspath(path)  # noqa: PTH100  # pathlib takes longer than the query
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # a pipe would block the shell
        return None
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(100)
    if not head.startswith(_MAGIC) or head[68:72] != _APPLICATION_ID:
        return None
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    # Without a WAL and its index SQLite would have to create them; on a full disk both stay empty.
    has_wal = all(_has_content(path + side) for side in ("-wal", "-shm"))
    return f"file:{quoted}?mode=ro{'' if has_wal else '&immutable=1'}"


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0  # noqa: PTH116
    except OSError:
        return False


def _keys_of(connection: Connection, prefix: str, group: str, limit: int) -> list[Key]:
    if not prefix:
        return _newest(connection, group, limit)
    matching = _keys(
        connection,
        f"{group.format(_BY_ID)} AND id >= ? AND id < ? AND {_ALIVE} ORDER BY id LIMIT {_MANY}",
        (prefix, f"{prefix}\U0010ffff"),
    )
    if len(matching) < _MANY:
        return sorted(matching, key=lambda key: key[2:], reverse=True)
    newest = [key for key in _newest(connection, group, _MANY) if key[1].startswith(prefix)]
    known = {key[0] for key in newest}
    return newest + [key for key in matching if key[0] not in known]


def _newest(connection: Connection, group: str, limit: int) -> list[Key]:
    order = "pinned DESC, updated_at DESC, id DESC"
    where = f"{group.format(_BY_TIME)} AND {_ALIVE}"
    return _keys(connection, f"{where} ORDER BY {order} LIMIT {limit}", ())


def _keys(connection: Connection, rest: str, parameters: tuple[str, ...]) -> list[Key]:
    statement = f"SELECT key, id, pinned, updated_at FROM sessions WHERE {rest}"  # noqa: S608  # constants
    return connection.execute(statement, parameters).fetchall()


def _with_titles(connection: Connection, keys: Iterable[Key]) -> Pairs:
    statement = (
        f"SELECT substr(json_extract({_PAYLOAD}, '$.title'), 1, 400) FROM sessions WHERE key = ?"  # noqa: S608
    )
    return [(key[1], _text(connection.execute(statement, key[:1]).fetchone()[0])) for key in keys]


def _trashed(connection: Connection, prefix: str) -> Pairs:
    rows = connection.execute(
        f"SELECT json_extract({_PAYLOAD}, '$.trash.id'),"  # noqa: S608
        f" substr(json_extract({_PAYLOAD}, '$.title'), 1, 400)"
        f" FROM sessions WHERE hidden = 1 AND {_ALIVE} ORDER BY updated_at DESC LIMIT {_MANY}"
    ).fetchall()
    found: dict[str, str] = {}
    for session_id, title in rows:
        if isinstance(session_id, str) and session_id.startswith(prefix):
            found.setdefault(session_id, _text(title))
    return list(found.items())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _within_time(path: str, statement: str, parameters: tuple[str, ...]) -> Pairs:
    """Return the rows that arrive before the time is up."""
    import time
    from sqlite3 import OperationalError

    connection = _open(path)
    if connection is None:
        return []
    # CPU time, so that a busy machine offers the same values as an idle one
    deadline = time.thread_time() + _CPU_SECONDS
    connection.set_progress_handler(lambda: time.thread_time() > deadline, _STEPS)
    found: Pairs = []
    try:
        for key, value in connection.execute(statement, parameters):
            if isinstance(key, str) and len(found) < _MAX_VALUES:
                found.append((key, "" if value is None else str(value)))
    except OperationalError:
        return found
    finally:
        connection.close()
    return found
