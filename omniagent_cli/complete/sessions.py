"""Session ids for TAB, with their titles: from the SQLite file, read only, or from a list kept in the cache."""

from __future__ import annotations

import os
import stat

from omniagent_cli.complete.store_pointer import chosen_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from sqlite3 import Connection

    from omniagent_cli.complete.command_line_parser import Place

    Key = tuple[int, str, int, str]
    """Row number, id, pinned, time of the last change."""

LIMIT = 200
"""So many are offered at most."""

_FEW = 1000
"""So many that fit are compared by time; of more, the newest of all are looked through first."""

_DESCRIPTION = 72
_WAIT_SECONDS = 0.05
_MAGIC = b"SQLite format 3\x00"
_APPLICATION_ID = b"omni"

_ALIVE = "(expires_at IS NULL OR expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))"
# A payload that is no JSON (compressed, encrypted) has no title here; a huge one is not worth the time.
_PAYLOAD = "CASE WHEN length(payload) < 65536 AND json_valid(CAST(payload AS TEXT)) THEN CAST(payload AS TEXT) END"
_ACTIVE = "{0}hidden = 0 AND {0}archived = 0"
_ARCHIVED = "{0}hidden = 0 AND {0}archived = 1"
_PINNED = _ACTIVE + " AND {0}pinned = 1"
_WHICH = {"session:archived": (_ARCHIVED,), "session:pinned": (_PINNED,)}
_BY_INDEX = ""
_BY_ID = "+"
"""Before a column it keeps SQLite from choosing an index by it, so that the one of the ids is used."""


def session_ids(place: Place, environ: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Return the ids that begin as typed, newest first, escaped as the commands read them."""
    store = chosen_store(place.given, environ)
    if store is None:
        return []
    used = set(place.arguments)
    return [
        (value, _described(title))
        for prefix in _prefixes(place.prefix)
        for session_id, title in _found(*store, prefix, place.kind)
        if _can_be_typed(session_id, literal=place.literal)
        and (value := _escaped(session_id)) not in used
    ]


def _prefixes(typed: str) -> tuple[str, ...]:
    """Return how ids may begin for what was typed; what is an escape begins another id than it looks like."""
    if typed.startswith("id:") and not typed.removesuffix("@").replace("id:", ""):
        return typed, typed.removeprefix("id:").rstrip("@") + "@"
    return (typed,)


def _found(scheme: str, path: str, prefix: str, which: str) -> Iterable[tuple[str, str]]:
    if scheme == "sqlite":
        return _from_sqlite(path, prefix, which)
    if scheme == "file":
        from omniagent_cli.complete.session_ids import from_directory

        return from_directory(path, prefix, which, LIMIT)
    return [] if which == "session:trashed" else _from_list(path, prefix)


def _escaped(session_id: str) -> str:
    """Return an id as a command reads it: ``@`` alone would be the session used last."""
    escapes = session_id.removesuffix("@")
    return (
        f"id:{session_id}"
        if escapes != session_id and not escapes.replace("id:", "")
        else session_id
    )


def _can_be_typed(session_id: str, *, literal: bool) -> bool:
    if session_id.startswith("-") and not literal:
        return False
    return session_id.isprintable() or _one_line(session_id) == session_id


def _described(title: str) -> str:
    """Return a title that cannot drive a terminal, on one line."""
    if not title.isprintable():
        title = _one_line(title)
    title = " ".join(title.split())
    return title if len(title) <= _DESCRIPTION else f"{title[: _DESCRIPTION - 1]}…"


def _one_line(text: str) -> str:
    from omniagent_cli.text.sanitize import one_line

    return one_line(text)


def _from_list(path: str, prefix: str) -> Iterable[tuple[str, str]]:
    """Read a list of ``id<TAB>title`` lines, newest first."""
    found: list[tuple[str, str]] = []
    with open(path, encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123  # pathlib is too much here
        for line in file:
            session_id, _, title = line.rstrip("\n").partition("\t")
            if session_id.startswith(prefix):
                found.append((session_id, title))
            if len(found) >= LIMIT:
                break
    return found


def open_reading(path: str) -> Connection | None:
    """Open a store without changing anything; None when it is none of ours."""
    uri = _uri(path)
    if uri is None:
        return None
    import sqlite3

    connection = sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS, isolation_level=None)
    connection.text_factory = _decoded  # half a character in one title must not hide all the others
    return connection


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _from_sqlite(path: str, prefix: str, which: str) -> Iterable[tuple[str, str]]:
    connection = open_reading(path)
    if connection is None:
        return []
    try:
        if which == "session:trashed":
            return _trashed(connection, prefix)
        return _newest(connection, prefix, which)
    finally:
        connection.close()


def _uri(path: str) -> str | None:
    """Return how to open a store without changing anything, not even by making SQLite's own side files."""
    path = os.path.abspath(path)  # noqa: PTH100  # pathlib is too much here
    if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  # a pipe would hang the shell
        return None
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(100)
    if not head.startswith(_MAGIC) or head[68:72] != _APPLICATION_ID:
        return None
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    # With no log to read, or no index of it, SQLite would have to make one; on a full disk both stay empty.
    logged = all(_holds_something(path + side) for side in ("-wal", "-shm"))
    return f"file:{quoted}?mode=ro{'' if logged else '&immutable=1'}"


def _holds_something(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0  # noqa: PTH116  # pathlib is too much here
    except OSError:
        return False


def _newest(connection: Connection, prefix: str, which: str) -> list[tuple[str, str]]:
    # Archived sessions are shown to those only who begin to type one.
    groups = _WHICH.get(which) or ((_ACTIVE, _ARCHIVED) if prefix else (_ACTIVE,))
    keys: list[Key] = []
    for group in groups:
        if len(keys) < LIMIT:
            keys += _of_group(connection, prefix, group)
    return _titled(connection, keys[:LIMIT])


def _of_group(connection: Connection, prefix: str, group: str) -> list[Key]:
    if not prefix:
        return _recent(connection, group, LIMIT)
    fitting = _keys(
        connection,
        f"{group.format(_BY_ID)} AND id >= ? AND id < ? AND {_ALIVE} ORDER BY id LIMIT {_FEW}",
        (prefix, f"{prefix}\U0010ffff"),
    )
    if len(fitting) < _FEW:
        return sorted(fitting, key=lambda key: key[2:], reverse=True)
    newest = [key for key in _recent(connection, group, _FEW) if key[1].startswith(prefix)]
    known = {key[0] for key in newest}
    return newest + [key for key in fitting if key[0] not in known]


def _recent(connection: Connection, group: str, limit: int) -> list[Key]:
    order = "pinned DESC, updated_at DESC, id DESC"
    where = f"{group.format(_BY_INDEX)} AND {_ALIVE}"
    return _keys(connection, f"{where} ORDER BY {order} LIMIT {limit}", ())


def _keys(connection: Connection, rest: str, values: tuple[str, ...]) -> list[Key]:
    statement = f"SELECT key, id, pinned, updated_at FROM sessions WHERE {rest}"  # noqa: S608  # constants
    return connection.execute(statement, values).fetchall()


def _titled(connection: Connection, keys: list[Key]) -> list[tuple[str, str]]:
    statement = (
        f"SELECT substr(json_extract({_PAYLOAD}, '$.title'), 1, 400) FROM sessions WHERE key = ?"  # noqa: S608
    )
    return [(key[1], _text(connection.execute(statement, key[:1]).fetchone()[0])) for key in keys]


def _trashed(connection: Connection, prefix: str) -> list[tuple[str, str]]:
    rows = connection.execute(
        f"SELECT json_extract({_PAYLOAD}, '$.trash.id'),"  # noqa: S608
        f" substr(json_extract({_PAYLOAD}, '$.title'), 1, 400)"
        f" FROM sessions WHERE hidden = 1 AND {_ALIVE} ORDER BY updated_at DESC LIMIT {_FEW}"
    ).fetchall()
    found: dict[str, str] = {}
    for session_id, title in rows:
        if isinstance(session_id, str) and session_id.startswith(prefix):
            found.setdefault(session_id, _text(title))
    return list(found.items())[:LIMIT]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
