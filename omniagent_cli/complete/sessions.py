"""Sessions for TAB: ids with their titles, metadata and state keys, and tags."""

from __future__ import annotations

import os

from omniagent_cli.complete.store_pointer import chosen_store
from omniagent_cli.config.paths import directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from omniagent_cli.complete.command_line_parser import CursorContext
    from omniagent_cli.stores.location import StoreLocation

    Pairs = list[tuple[str, str]]

LIMIT = 200
"""Maximum number of values offered."""

_DESCRIPTION_CELLS = 72


def session_ids(cursor: CursorContext, environ: Mapping[str, str]) -> Pairs:
    """Return the ids that start with the typed prefix, newest first, escaped as the commands expect them."""
    location = chosen_store(cursor.options, environ)
    group = cursor.kind.partition(":")[2]
    used = set(cursor.arguments)
    return [
        (value, _description(title))
        for prefix in _prefixes(cursor.prefix)
        for session_id, title in _matching_ids(location, prefix, group, environ)
        if _can_be_typed(session_id, literal=cursor.literal)
        and (value := _escape(session_id)) not in used
    ]


def session_keys(cursor: CursorContext, section: str, environ: Mapping[str, str]) -> Pairs:
    """Return the keys of the session that is named before this word, with their values.

    Args:
        cursor: the cursor.
        section: ``metadata`` or ``state``.
        environ: the environment variables.
    """
    location = chosen_store(cursor.options, environ)
    ids, path = _ids(location, environ)
    if ids is None or not cursor.arguments:
        return []
    found: Pairs = ids.values(path, _resolve(cursor.arguments[0], location, environ), section)
    return found


def tags(cursor: CursorContext, environ: Mapping[str, str]) -> Pairs:
    """Return the tags of the newest sessions, most frequent first, with the number of sessions."""
    ids, path = _ids(chosen_store(cursor.options, environ), environ)
    counts: dict[str, int] = {}
    for tag in () if ids is None else ids.tags(path):
        if tag.isprintable() and len(tag) <= LIMIT:
            counts[tag] = counts.get(tag, 0) + 1
    order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:LIMIT]
    return [(tag, f"{number} session{'s' * (number > 1)}") for tag, number in order]


def tag_changes(cursor: CursorContext, environ: Mapping[str, str]) -> Pairs:
    """Return ``+tag`` for known tags, and ``-tag`` for those of the session."""
    if not cursor.prefix.startswith("-"):
        return [(f"+{tag}", text) for tag, text in tags(cursor, environ)]
    import json

    value = dict(session_keys(cursor, "metadata", environ)).get("tags", "[]")
    try:
        return [(f"-{tag}", "") for tag in json.loads(value) if isinstance(tag, str)]
    except ValueError:
        return []


def _matching_ids(
    location: StoreLocation, prefix: str, group: str, environ: Mapping[str, str]
) -> Pairs:
    ids, path = _ids(location, environ)
    if ids is not None:
        found: Pairs = ids.session_ids(path, prefix, group, LIMIT)
        return found
    from omniagent_cli.complete.id_cache import read_ids

    return [] if group == "trashed" else read_ids(location.url, prefix, LIMIT, environ)


def _ids(location: StoreLocation, environ: Mapping[str, str]) -> tuple[Any, str]:
    """Return the module that reads the ids of a store without opening it, or None, and its path."""
    path = location.ids_path(directory("data", environ))
    if path is None or location.backend is None:
        return None, ""
    return location.backend.ids_module(), os.path.expanduser(path)  # noqa: PTH111  # pathlib is slow to import


def _prefixes(typed: str) -> tuple[str, ...]:
    """Return the id prefixes of a typed word, which may be an escape such as ``id:@``."""
    if typed.startswith("id:") and not typed.removesuffix("@").replace("id:", ""):
        return typed, typed.removeprefix("id:").rstrip("@") + "@"
    return (typed,)


def _is_escaped(text: str) -> bool:
    """Return True if a text is ``@`` after any number of ``id:``."""
    return text.endswith("@") and not text[:-1].replace("id:", "")


def _escape(session_id: str) -> str:
    """Return an id, escaped if a command would interpret it: ``@`` alone is the session used last."""
    return f"id:{session_id}" if _is_escaped(session_id) else session_id


def _resolve(word: str, location: StoreLocation, environ: Mapping[str, str]) -> str:
    """Return the id that a word refers to: ``@`` is the session used last, ``id:@`` the id ``@``."""
    if word != "@":
        return word.removeprefix("id:") if _is_escaped(word) else word
    from omniagent_cli.config.last_used_session import LastUsedSession

    return LastUsedSession(location.canonical, environ).get() or ""


def _can_be_typed(session_id: str, *, literal: bool) -> bool:
    if session_id.startswith("-") and not literal:
        return False
    return session_id.isprintable() or _one_line(session_id) == session_id


def _description(title: str) -> str:
    """Return a title on one line, cut, without control characters."""
    if not title.isprintable():
        title = _one_line(title)
    title = " ".join(title.split())
    return title if len(title) <= _DESCRIPTION_CELLS else f"{title[: _DESCRIPTION_CELLS - 1]}…"


def _one_line(text: str) -> str:
    from omniagent_cli.text.sanitize import one_line  # slow to import and rarely needed

    return one_line(text)
