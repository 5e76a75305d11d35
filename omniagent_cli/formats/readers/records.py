"""Session headers and message records built from the data of other tools."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from omniagent_cli.errors import InvalidRecord, InvalidSessionId
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.json_format import dump, format_time, parse_time
from omniagent_cli.models import check_session_id

_LATEST_SECONDS = 253402300799  # the end of the year 9999
_MILLISECONDS_FROM = 1e11
"""Larger numbers are milliseconds: as seconds this would be the year 5138."""

LEFT_OUT_KEY = "_left_out"
"""Record key of an omission in a message tree; never imported."""

_ID_TAIL = 16
_ID_BYTES = 200
_MESSAGE_ID_LENGTH = 512


def session_header(
    format_name: str,
    source_id: str,
    *,
    title: Any = None,
    created: Any = None,
    updated: Any = None,
    model: Any = None,
    pinned: Any = False,
    archived: Any = False,
    branch: str = "",
    **source_fields: Any,
) -> dict[str, Any]:
    """Return a session header built from the data of another tool.

    The id combines the tool's name and its id, so the same conversation is the same session at each import;
    ``metadata.source`` holds both as ``format`` and ``id``, plus other fields worth keeping.

    Args:
        format_name: a key of `formats.FORMATS`.
        source_id: id in the other tool.
        title: title; ignored unless it is text that is not blank.
        created: creation time, see `parse_timestamp`.
        updated: time of the last activity.
        model: name of the model; only recorded, so that the session continues with the default model.
        pinned: the tool lists the session first.
        archived: the tool hides the session.
        branch: id of a thread other than the visible one.
        source_fields: more for ``metadata.source``; empty values are omitted.
    """
    session_id = session_id_for(format_name, f"{source_id}/{branch}" if branch else source_id)
    source = {
        "format": format_name,
        "id": source_id,
        "branch": branch,
        "model": model,
        **source_fields,
    }
    metadata: dict[str, Any] = {"source": {k: v for k, v in source.items() if v not in (None, "")}}
    if branch:
        metadata["forked_from"] = session_id_for(format_name, source_id)
    if pinned is True and not branch:
        metadata["pinned"] = True
    if archived is True:
        metadata["archived"] = True
    header: dict[str, Any] = {"id": session_id, "metadata": metadata}
    if name := text_of(title).strip():
        header["title"] = " ".join(name.split())
    times = {"created_at": parse_timestamp(created), "updated_at": parse_timestamp(updated)}
    return header | {key: at for key, at in times.items() if at}


def file_time(source: ByteSource) -> float | None:
    """Return when a file was changed, in Unix seconds; None for other sources."""
    return source.path.stat().st_mtime if source.path else None


def session_id_for(format_name: str, source_id: str) -> str:
    """Return the session id for an id of another tool; an invalid one is shortened and made unique by a hash."""
    preferred = f"{format_name}-{source_id}"
    try:
        if len(preferred.encode()) <= _ID_BYTES and preferred == preferred.strip():
            return check_session_id(preferred)
    except (InvalidSessionId, UnicodeEncodeError):
        pass
    tail = blake2b(dump(source_id), digest_size=_ID_TAIL // 2).hexdigest()
    readable = "".join(
        c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in source_id[:40]
    )
    return f"{format_name}-{readable}-{tail}"


def parse_timestamp(value: Any) -> str | None:
    """Return a time as RFC 3339 in UTC, from Unix seconds or milliseconds or from ISO 8601 text.

    Text without a zone is taken as UTC. None for invalid values and times outside of the years 1 to 9999.
    """
    if isinstance(value, bool) or value is None:
        return None
    try:
        if isinstance(value, int | float):
            seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
            in_range = 0 < seconds <= _LATEST_SECONDS
            return format_time(datetime.fromtimestamp(seconds, UTC)) if in_range else None
        return format_time(parse_time(value, default_zone=UTC))
    except (InvalidRecord, TypeError, ValueError, OverflowError):
        return None


def text_of(value: Any) -> str:
    """Return the value if it is text, else an empty string."""
    return value if isinstance(value, str) else ""


def object_of(value: Any) -> dict[str, Any]:
    """Return the value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """Return the value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Return the objects in a list; empty for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def as_text(value: Any) -> str:
    """Return text unchanged, an empty string for None, and any other value as JSON, however deeply it is nested."""
    if isinstance(value, str):
        return value
    return "" if value is None else _json(value)


def image_part(url: str, name: str = "") -> dict[str, Any]:
    """Return the content part of an image; an image without data in the file is named instead."""
    if url.startswith("data:"):
        part: dict[str, Any] = {"type": "image_url", "image_url": {"url": url}}
        return part | ({"name": name} if name else {})
    return {"type": "text", "text": f"[image: {name or url.rpartition('/')[2] or 'unnamed'}]"}


def merge_parts(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Return parts as a content: as a string if all are text."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(filter(None, (part["text"] for part in parts)))
    return parts


def tool_call(call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    """Return a tool call; arguments that are not a JSON object are wrapped under the key ``input``."""
    if isinstance(arguments, str):
        text = arguments if _is_object(arguments) else _json({"input": arguments})
    else:
        text = _json(arguments if isinstance(arguments, dict) else {"input": arguments})
    function = {"name": text_of(name) or "tool", "arguments": text}
    return {"id": text_of(call_id), "type": "function", "function": function}


def _json(value: Any) -> str:
    """Return JSON text that holds a value which was JSON; text has no limit of depth, other than a value of a record.

    Raises:
        InvalidRecord: it is nested beyond what Python reads.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise InvalidRecord("a value is nested too deeply") from error
    # A lone surrogate stands inside a JSON string, where its backslash form is a JSON escape.
    return text.encode("utf-8", "backslashreplace").decode()


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def message(
    role: str,
    content: Any,
    *,
    id_: Any = None,
    at: Any = None,
    model: Any = None,
    thinking: str = "",
    extra: dict[str, Any] | None = None,
    failed: bool = False,
    **keys: Any,
) -> dict[str, Any]:
    """Return a message record; empty values are omitted."""
    extra = {**(extra or {}), **({"thinking": thinking} if thinking else {})}
    extra |= {"failed": True} if failed else {}
    fields = {
        "id": message_id(id_),
        "created_at": parse_timestamp(at),
        "model": text_of(model),
        "extra": extra,
        **keys,
    }
    return {"role": role, "content": content} | {k: v for k, v in fields.items() if v}


def left_out(kind: str) -> dict[str, Any]:
    """Return the record of an omission, for a node of a message tree; see `types.Omission`."""
    return {LEFT_OUT_KEY: kind}


def usage_of(counts: dict[str, Any], names: dict[str, str]) -> dict[str, int]:
    """Return token counts under the keys of this package; counts of zero and unknown keys are omitted.

    Args:
        counts: token counts of the other tool.
        names: the key here by the tool's key.
    """
    usage = {ours: counts.get(theirs) for theirs, ours in names.items()}
    return {key: n for key, n in usage.items() if isinstance(n, int) and n}


def tool_output(content: Any) -> str:
    """Return the output of a tool as text: the texts of its parts, or anything else as JSON."""
    if isinstance(content, list):
        return "\n".join(text_of(part.get("text")) or as_text(part) for part in objects_of(content))
    return as_text(content)


def message_id(fields: Any) -> str:
    """Return a valid message id: the other tool's id, or a hash of it."""
    preferred = text_of(fields)
    if not preferred or (len(preferred) <= _MESSAGE_ID_LENGTH and preferred.isprintable()):
        return preferred
    return blake2b(dump(preferred), digest_size=_ID_TAIL).hexdigest()
