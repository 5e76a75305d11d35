"""What sessions hold, for TAB: metadata and state keys of one, tags of the newest; bounded in what is read and how long."""

from __future__ import annotations

import os

from omniagent_cli.complete.store_pointer import chosen_store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from sqlite3 import Connection

    from omniagent_cli.complete.command_line_parser import Place

    Pairs = list[tuple[str, str]]

LIMIT = 200
_SESSIONS = 1000
"""So many of the newest sessions are looked through for tags."""

_SECONDS = 0.05
_STEPS = 20_000
"""Of SQLite's machine between two looks at the clock."""

_RECENT_BYTES = 200_000


def keys_of(place: Place, section: str, environ: Mapping[str, str]) -> Pairs:
    """Return the keys of the session that is named before this word, with their values.

    Args:
        place: where the cursor is.
        section: ``metadata`` or ``state``.
        environ: the environment variables.
    """
    store = chosen_store(place.given, environ)
    if store is None or not place.arguments:
        return []
    session_id = _meant(place.arguments[0], *store, environ)
    if store[0] == "sqlite":
        return _from_sqlite(store[1], _KEYS.format(section), (session_id,))
    if store[0] == "file":
        from omniagent_cli.complete.session_ids import data_of

        return _shown(data_of(store[1], session_id).get(section))
    return []


def tags_of(place: Place, environ: Mapping[str, str]) -> Pairs:
    """Return tags of the newest sessions, those of the most sessions first, with how many have them."""
    store = chosen_store(place.given, environ)
    if store is None:
        return []
    if store[0] == "sqlite":
        found = _from_sqlite(store[1], _TAGS, ())
    elif store[0] == "file":
        from omniagent_cli.complete.session_ids import tags_in

        found = [(tag, "") for tag in tags_in(store[1])]
    else:
        return []
    counts: dict[str, int] = {}
    for tag, _ in found:
        if _can_be_typed(tag):
            counts[tag] = counts.get(tag, 0) + 1
    order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:LIMIT]
    return [(tag, f"{number} session{'s' * (number > 1)}") for tag, number in order]


def tag_changes(place: Place, environ: Mapping[str, str]) -> Pairs:
    """Return ``+tag`` for known tags, and ``-tag`` for those that the session has."""
    if place.prefix.startswith("-"):
        return [(f"-{tag}", "") for tag in _tags_it_has(place, environ)]
    return [(f"+{tag}", text) for tag, text in tags_of(place, environ)]


def _tags_it_has(place: Place, environ: Mapping[str, str]) -> Iterable[str]:
    import json

    for key, value in keys_of(place, "metadata", environ):
        if key == "tags":
            try:
                return [tag for tag in json.loads(value) if isinstance(tag, str)]
            except ValueError:
                return []
    return []


# A payload that is no JSON (compressed, encrypted) has no rows here; a huge one is not worth the time.
_PAYLOAD = "CASE WHEN length(payload) < 262144 AND json_valid(CAST(payload AS TEXT)) THEN CAST(payload AS TEXT) END"
_KEYS = (
    "SELECT j.key, substr(j.value, 1, 20000) FROM sessions, json_each("  # noqa: S608  # constants
    + _PAYLOAD
    + ", '$.{}') AS j WHERE sessions.id = ?"
)
_TAGS = (
    "SELECT j.value, '' FROM (SELECT " + _PAYLOAD + " AS whole FROM sessions WHERE hidden = 0 "  # noqa: S608
    f"AND archived = 0 ORDER BY pinned DESC, updated_at DESC LIMIT {_SESSIONS}) AS s, "
    "json_each(s.whole, '$.metadata.tags') AS j"
)


def _from_sqlite(path: str, statement: str, values: tuple[str, ...]) -> Pairs:
    from omniagent_cli.complete.sessions import open_reading

    connection = open_reading(path)
    if connection is None:
        return []
    try:
        return _within_time(connection, statement, values)
    finally:
        connection.close()


def _within_time(connection: Connection, statement: str, values: tuple[str, ...]) -> Pairs:
    """Return the rows that came before the time was up."""
    import time
    from sqlite3 import OperationalError

    deadline = time.monotonic() + _SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
    found: Pairs = []
    try:
        for key, value in connection.execute(statement, values):
            if isinstance(key, str) and len(found) < 50 * LIMIT:
                found.append((key, "" if value is None else str(value)))
    except OperationalError:
        return found
    return found


def _shown(values: object) -> Pairs:
    import json

    if not isinstance(values, dict):
        return []
    return [
        (key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for key, value in values.items()
    ]


def _meant(given: str, scheme: str, path: str, environ: Mapping[str, str]) -> str:
    """Return the id that a word stands for: ``@`` is the session used last, and ``id:@`` one of that name."""
    if given == "@":
        return _recent(scheme, path, environ)
    escaped = given.endswith("@") and not given[:-1].replace("id:", "")
    return given.removeprefix("id:") if escaped else given


def _recent(scheme: str, path: str, environ: Mapping[str, str]) -> str:
    import json

    from omniagent_cli.config.paths import directory
    from omniagent_cli.errors import ConfigError

    try:
        with open(f"{directory('state', environ)}/recent.json", encoding="utf-8") as file:  # noqa: PTH123
            known = json.loads(file.read(_RECENT_BYTES))
        return str(known.get(f"{scheme}://{os.path.abspath(path)}", ""))  # noqa: PTH100
    except (OSError, ValueError, AttributeError, ConfigError):
        return ""


def _can_be_typed(text: str) -> bool:
    return text.isprintable() and len(text) <= LIMIT
