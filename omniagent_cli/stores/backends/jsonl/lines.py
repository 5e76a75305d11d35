r"""The lines of a session log, which is also the ``jsonl`` export form.

A log is UTF-8, one JSON object a line, each line ended by ``\n``, identified by their keys:

``{"format":"omniagent-session","version":1,"uid":...,"id":...,"created_at":...}``
    Line 1, the identity. Uid, format and version never change; the id is the one the session had when the
    file was made. An export puts the whole session record here (title, metadata, ...).

``{"position":0,"id":...,"turn_id":...,"role":...,"created_at":...,"status":...,"content":...}``
    A message: its record with its position. Positions ascend. A payload that is not plain JSON (compressed,
    encrypted) is base64 under ``payload``; one whose keys collide with those of the line is an object there.

``{"position":0,"replaces":true,...}``
    A newer version of the message, as a growing answer is stored: the last one counts.

``{"header":{"id":...,"updated_at":...,"message_count":...,...},"log":{...},"data":{...}}``
    A header change. ``header`` holds the small facts whole, absent meaning default; ``data`` (or ``payload``)
    holds title, metadata and state when they changed. ``log`` is the file's own: ``data_at``, the offset of
    the line that holds the newest data; ``records``, the offsets of the record lines by kind and key, in the
    line with the data; ``replaced``, how many bytes of replaced messages the file holds. Every change of a
    log ends with a header line; content after the last one belongs to an unfinished change.

``{"record":"attachment","key":...,"value":{...}}``
    An attachment or summary of the session, or base64 under ``payload``.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from omniagent_cli.json_format import dump, load
from omniagent_cli.models import FORMAT_VERSION, SESSION_FORMAT
from omniagent_cli.stores.backend import HeaderRow, MessageRow

HEADER_START = b'{"header":'
RECORD_START = b'{"record":'
MESSAGE_START = b'{"position":'

_OWN = ("position", "replaces", "id", "turn_id", "role", "created_at", "status", "payload")
_COLLISION = re.compile(rb'"(?:%s)":' % b"|".join(key.encode() for key in _OWN))
_PLACE = re.compile(rb'\{"position":(\d{1,18}),("replaces":true,)?')
_MESSAGE = re.compile(
    rb'\{"position":(\d{1,18}),(?:"replaces":true,)?"id":"([^"\\]*)"(?:,"turn_id":"([^"\\]*)")?'
    rb',"role":"([a-z]+)","created_at":"([^"\\]*)"(?:,"status":"([a-z]+)")?([,}])'
)
_UID = re.compile(r"[0-9a-z]{1,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
_SMALL: dict[str, Any] = {
    "agent_id": "",
    "model": "",
    "ttl_seconds": None,
    "expires_at": None,
    "message_count": 0,
    "next_position": 0,
    "revision": 0,
    "pinned": False,
    "archived": False,
    "hidden": False,
    "modified_at": None,
}
"""Facts of a header line besides id and times, with the defaults that are omitted."""


class BadLine(ValueError):
    """A line is not part of a session log."""


def identity_line(header: HeaderRow) -> bytes:
    """Return line 1 of a new log."""
    record = {
        "format": SESSION_FORMAT,
        "version": FORMAT_VERSION,
        "uid": header.uid,
        "id": header.id,
        "created_at": header.created_at,
    }
    return dump(record) + b"\n"


def message_line(row: MessageRow, *, replaces: bool = False) -> bytes:
    """Return the line of a message; a plain payload is inserted without parsing."""
    place: dict[str, Any] = {"position": row.position}
    if replaces:
        place["replaces"] = True
    place["id"] = row.id
    if row.turn_id is not None:
        place["turn_id"] = row.turn_id
    place["role"], place["created_at"] = row.role, row.created_at
    if row.status is not None:
        place["status"] = row.status
    payload = row.payload
    if not _is_object(payload):
        return dump({**place, "payload": _to_base64(payload)}) + b"\n"
    if _collides(payload):
        return dump(place)[:-1] + b',"payload":' + payload + b"}\n"
    if payload == b"{}":
        return dump(place) + b"\n"
    return dump(place)[:-1] + b"," + payload[1:] + b"\n"


def _collides(payload: bytes) -> bool:
    """Return True if a payload has keys of the line; a damaged payload is written unchanged."""
    if not _COLLISION.search(payload):
        return False
    try:
        return not load(payload).keys().isdisjoint(_OWN)
    except ValueError:
        return False


def place_of(line: bytes) -> tuple[int, bool]:
    """Return the position of a message line and whether it replaces an earlier one.

    Raises:
        BadLine: it is not a message.
    """
    match = _PLACE.match(line)
    if match is not None:
        return int(match[1]), match[2] is not None
    record = _object(line)
    position = record.get("position")
    if not isinstance(position, int) or position < 0:
        raise BadLine
    return position, record.get("replaces") is True


def read_message(line: bytes) -> MessageRow:
    """Parse a message line; in canonical form, only the columns are parsed.

    Raises:
        BadLine: it is not a message.
    """
    line = line.rstrip()
    match = _MESSAGE.match(line)
    if match is None or line.startswith(b'"payload":', match.end()) or line[-1:] != b"}":
        return _read_any_message(line)
    position, message_id, turn_id, role, created_at, status, end = match.groups()
    try:
        return MessageRow(
            int(position),
            message_id.decode(),
            None if turn_id is None else turn_id.decode(),
            role.decode(),
            created_at.decode(),
            None if status is None else status.decode(),
            b"{}" if end == b"}" else b"{" + line[match.end() :],
        )
    except UnicodeDecodeError as error:
        raise BadLine from error


def _read_any_message(line: bytes) -> MessageRow:
    """Parse a message line that is not in canonical form: escapes in ids, payloads, edited by hand."""
    record = _object(line)
    own = {key: record.pop(key, None) for key in _OWN}
    if not isinstance(own["position"], int) or not all(
        isinstance(own[key], str) for key in ("id", "role", "created_at")
    ):
        raise BadLine
    if isinstance(own["payload"], dict):
        payload = dump(own["payload"])
    else:
        payload = dump(record) if own["payload"] is None else _from_base64(own["payload"])
    return MessageRow(
        own["position"],
        own["id"],
        own["turn_id"],
        own["role"],
        own["created_at"],
        own["status"],
        payload,
    )


def header_line(header: HeaderRow, log: dict[str, Any]) -> bytes:
    """Return the line of a header change; a payload of None refers to the data at ``log["data_at"]``."""
    small: dict[str, Any] = {"id": header.id, "created_at": header.created_at}
    small["updated_at"] = header.updated_at
    for key, default in _SMALL.items():
        if (value := getattr(header, key)) != default:
            small[key] = value
    if header.preview:
        plain = header.preview[:1] == b'"'
        small["preview"] = (
            load(header.preview) if plain else {"payload": _to_base64(header.preview)}
        )
    line = HEADER_START + dump(small)
    if log:
        line += b',"log":' + dump(log)
    if header.payload is not None:
        if _is_object(header.payload):
            line += b',"data":' + header.payload
        else:
            line += b',"payload":' + dump(_to_base64(header.payload))
    return line + b"}\n"


def read_header(line: bytes, uid: str) -> tuple[HeaderRow, dict[str, Any]]:
    """Parse a header line into a header, whose payload is None if it is stored elsewhere, and facts about the file.

    Raises:
        BadLine: it is not a header line.
    """
    record = _object(line)
    small: Any = record.get("header")
    log = record.get("log", {})
    try:
        header = HeaderRow(uid, small["id"], small["created_at"], small["updated_at"])
        for key, default in _SMALL.items():
            value = small.get(key, default)
            setattr(header, key, value)
        for time in (header.created_at, header.updated_at, header.modified_at, header.expires_at):
            check_time(
                time or header.updated_at
            )  # a damaged one must not look like an expired session
        preview = small.get("preview", "")
        if isinstance(preview, dict):
            header.preview = _from_base64(preview["payload"])
        elif preview:
            header.preview = dump(preview)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadLine from error
    if not isinstance(log, dict):
        raise BadLine
    if "data" in record:
        header.payload = dump(record["data"])
    elif "payload" in record:
        header.payload = _from_base64(record["payload"])
    return header, log


def record_line(kind: str, key: str, payload: bytes) -> bytes:
    """Return the line of an attachment or summary."""
    line = dump({"record": kind, "key": key})[:-1]
    if _is_object(payload):
        return line + b',"value":' + payload + b"}\n"
    return line + b',"payload":' + dump(_to_base64(payload)) + b"}\n"


def read_record(line: bytes) -> tuple[str, str, bytes]:
    """Parse a record line into kind, key and payload.

    Raises:
        BadLine: it is not a record line.
    """
    record = _object(line)
    kind, key = record.get("record"), record.get("key")
    if not isinstance(kind, str) or not isinstance(key, str):
        raise BadLine
    if "payload" in record:
        return kind, key, _from_base64(record["payload"])
    return kind, key, dump(record.get("value"))


def read_identity(line: bytes) -> dict[str, Any]:
    """Parse line 1.

    Raises:
        BadLine: it is not the identity of a session log.
    """
    record = _object(line)
    if record.get("format") != SESSION_FORMAT or not isinstance(record.get("id"), str):
        raise BadLine
    return record


def check_time(text: object) -> str:
    """Return a time read from a file.

    Raises:
        BadLine: it is not in canonical form.
    """
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise BadLine
    return text


def check_uid(uid: object) -> str:
    """Return a uid read from a file.

    Raises:
        BadLine: it cannot be part of a file name.
    """
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise BadLine
    return uid


def kind_of(line: bytes) -> str:
    """Return ``message``, ``header`` or ``record``; empty for a blank line.

    Raises:
        BadLine: it is none of them.
    """
    if line.startswith(MESSAGE_START):
        return "message"
    if line.startswith(HEADER_START):
        return "header"
    if line.startswith(RECORD_START):
        return "record"
    if not line.strip():
        return ""
    record = _object(line)
    for key, kind in (("position", "message"), ("header", "header"), ("record", "record")):
        if key in record:
            return kind
    raise BadLine


def may_be_unfinished(line: bytes) -> bool:
    """Return True if a complete line may be at the end without a header line after it: a message or a record."""
    try:
        kind = kind_of(line)
        return kind == "" or (kind != "header" and bool(_object(line)))
    except BadLine:
        return False


def _object(line: bytes) -> dict[str, Any]:
    try:
        record = load(line.strip())
    except ValueError as error:
        raise BadLine from error
    if not isinstance(record, dict):
        raise BadLine
    return record


def _is_object(payload: bytes) -> bool:
    return payload[:1] == b"{" and payload[-1:] == b"}" and b"\n" not in payload


def _to_base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode("ascii")


def _from_base64(text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, TypeError, ValueError) as error:
        raise BadLine from error
