"""The lines of a session log, as the manual page ``file-format`` specifies them: their bytes and their parts.

``{"format":...}`` is line 1, ``{"id":...}`` a message, ``{"header":...}`` changed facts, ``{"removed":...}`` and
``{"restored":...}`` messages by id and position, ``{"record":...}`` an attachment or summary.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple

from omniagent_cli.errors import NewerVersion
from omniagent_cli.json_format import dump, load
from omniagent_cli.models import SESSION_FORMAT
from omniagent_cli.stores.backend import MessageRow
from omniagent_cli.stores.encryption.cipher import ENCRYPTED
from omniagent_cli.stores.encryption.codec import rebound, unbound

LOG_VERSION = 2
"""Version of the form; version 1 is what `version1` reads."""

_OWN = (
    "id", "position", "bound", "turn_id", "role", "created_at", "at", "edited", "status", "more",
    "preview", "payload",
)  # fmt: skip
_COLLISION = re.compile(rb'"(?:%s)":' % b"|".join(key.encode() for key in _OWN))
_MESSAGE = re.compile(
    rb'\{"id":"([^"\\]*)"(?:,"position":(\d{1,18}))?(?:,"turn_id":"([^"\\]*)")?,"role":"([a-z]+)"'
    rb',"created_at":"([^"\\]*)"(?:,"at":"([^"\\]*)")?(?:,"edited":"([^"\\]*)")?(?:,"status":"([a-z]+)")?'
    rb'(,"more":true)?([,}])'
)
_SEALED = bytes((ENCRYPTED,))
_CONTROLS = bytes(set(range(0x20)) - set(b"\t\r"))
_UID = re.compile(r"[0-9a-z]{1,64}")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z(/\d{4})?")
_KINDS = {b'{"id":': "message", b'{"head': "header", b'{"remo': "removed", b'{"rest': "restored"}
_KINDS |= {b'{"reco': "record", b'{"form': "format"}
_NAMES = {"id": "message", **{kind: kind for kind in _KINDS.values() if kind != "message"}}


class BadLine(ValueError):
    """A line is not part of a session log."""


class MessageLine(NamedTuple):
    """A parsed message line.

    Attributes:
        position: as written; None: the last one plus one.
        bound: position that an encrypted payload is bound to, if it is another.
        at: stamp of when it was added, if that is not `created_at`.
        edited: stamp of this version; None: the first version.
        more: the next line belongs to the same write.
        preview: encrypted preview.
    """

    id: str
    position: int | None
    turn_id: str | None
    role: str
    created_at: str
    at: str | None
    edited: str | None
    status: str | None
    more: bool
    payload: bytes
    bound: int | None = None
    preview: bytes = b""

    @property
    def stamp(self) -> str:
        """The stamp of when it was added, which identifies the message together with its id."""
        return self.at or self.created_at

    @property
    def turn(self) -> str:
        """The turn it belongs to; a message without one is a turn of its own."""
        return self.turn_id or self.id

    def row(self, position: int) -> MessageRow:
        """Return the row of the message at its position."""
        payload = self.payload
        if payload[:1] == _SEALED:
            bound = self.position if self.bound is None else self.bound
            if bound not in (None, position):
                payload = rebound(bound, payload)
        return MessageRow(
            position, self.id, self.turn_id, self.role, self.created_at, self.status, payload
        )


def message_line(
    row: MessageRow,
    stamp: str,
    *,
    position: bool = False,
    edited: str | None = None,
    more: bool = False,
    preview: bytes = b"",
) -> bytes:
    """Return the line of a message; a plain payload is inserted without parsing.

    Args:
        row: the message.
        stamp: when it was added.
        position: write its position, because it is not the last plus one; an encrypted one always has it.
        edited: the stamp of a later version.
        more: another line follows in the same write.
        preview: the preview of an encrypted message.
    """
    bound, payload = unbound(row.payload)
    plain = _is_object(payload)
    own: dict[str, Any] = {"id": row.id}
    if position or payload[:1] == _SEALED:
        own["position"] = row.position
    if row.turn_id is not None:
        own["turn_id"] = row.turn_id
    own["role"], own["created_at"] = row.role, row.created_at
    if stamp != row.created_at:
        own["at"] = stamp
    for key, value in (
        ("edited", edited),
        ("status", row.status),
        ("more", more),
        ("bound", bound),
    ):
        if value is not None and value is not False:
            own[key] = value  # noqa: PERF403  # it adds to those above
    if preview and not plain:
        own["preview"] = to_base64(preview)
    if not plain:
        return dump({**own, "payload": to_base64(payload)}) + b"\n"
    if _collides(payload):
        return dump(own)[:-1] + b',"payload":' + payload + b"}\n"
    return dump(own)[:-1] + (b"}\n" if payload == b"{}" else b"," + payload[1:] + b"\n")


def read_message(line: bytes, *, payload: bool = True) -> MessageLine:
    """Parse a message line; in canonical form, only the columns are parsed, and the payload is copied on request.

    Raises:
        BadLine: it is not a message.
    """
    line = line.rstrip()
    if len(line.translate(None, _CONTROLS)) != len(line):
        raise BadLine  # JSON has none, and some readers of the payload do not look for them
    match = _MESSAGE.match(line)
    end = match.end() if match else 0
    if (
        match is None
        or line[-1:] != b"}"
        or line.startswith((b'"payload":', b'"bound":', b'"preview":'), end)
    ):
        return _read_any_message(line)
    message_id, position, turn, role, created, at, edited, status, more, last = match.groups()
    try:
        return MessageLine(
            message_id.decode(),
            None if position is None else int(position),
            None if turn is None else turn.decode(),
            role.decode(),
            _time(created.decode()),
            None if at is None else _time(at.decode()),
            None if edited is None else _time(edited.decode()),
            None if status is None else status.decode(),
            more is not None,
            b"{}" if last == b"}" or not payload else b"{" + line[end:],
        )
    except UnicodeDecodeError as error:
        raise BadLine from error


def _read_any_message(line: bytes) -> MessageLine:
    """Parse a message line that is not in canonical form: escapes in ids, payloads, edited by hand."""
    record = read_object(line)
    own: dict[str, Any] = {key: record.pop(key, None) for key in _OWN}
    if not all(isinstance(own[key], str) for key in ("id", "role", "created_at")) or not all(
        own[key] is None or (type(own[key]) is int and own[key] >= 0)
        for key in ("position", "bound")
    ):
        raise BadLine
    payload = own["payload"]
    if isinstance(payload, dict) or payload is None:
        payload = dump(record if payload is None else payload)
    else:
        payload = from_base64(payload)
    for key in ("created_at", "at", "edited"):
        if own[key] is not None:
            _time(own[key])
    own |= {"more": own["more"] is True, "payload": payload}
    own["preview"] = from_base64(own["preview"]) if own["preview"] else b""
    return MessageLine._make(own[name] for name in MessageLine._fields)


def read_other(kind: str, line: bytes) -> dict[str, Any]:
    """Parse a line of another kind.

    Raises:
        BadLine: it is not one.
    """
    record = read_object(line)
    value = record.get(kind)
    if kind == "format":
        sound = value == SESSION_FORMAT and isinstance(record.get("id"), str)
        sound = sound and isinstance(record.get("header", {}), dict)
        _time(record.get("created_at"))
        check_uid(record.get("uid"))
    else:
        _time(record.get("at"))
        if kind == "header":
            unset = record.get("unset", [])
            sound = isinstance(value, dict) and all(map(_is_path, unset))
        elif kind == "record":
            sound = isinstance(value, str) and isinstance(record.get("key"), str)
        else:
            sound = isinstance(value, list) and all(map(_is_reference, value))
    if not sound:
        raise BadLine
    return record


def _is_path(path: Any) -> bool:
    return isinstance(path, list) and all(isinstance(part, str) for part in path) and bool(path)


def _is_reference(pair: Any) -> bool:
    return isinstance(pair, list) and [type(part) for part in pair] == [str, int]


def record_line(
    kind: str, key: str, payload: bytes | None, stamp: str, *, more: bool = False
) -> bytes:
    """Return the line of an attachment or summary, or of its removal (None)."""
    start: dict[str, Any] = {"record": kind, "key": key, "at": stamp}
    if more:
        start["more"] = True
    if payload is None:
        return dump({**start, "value": None}) + b"\n"
    if _is_object(payload):
        return dump(start)[:-1] + b',"value":' + payload + b"}\n"
    return dump({**start, "payload": to_base64(payload)}) + b"\n"


def record_payload(record: dict[str, Any]) -> bytes:
    """Return the payload of a parsed attachment or summary."""
    return from_base64(record["payload"]) if "payload" in record else dump(record.get("value"))


def kind_of(line: bytes) -> str:
    """Return ``message``, ``header``, ``removed``, ``restored``, ``record`` or ``format``; empty for a blank line.

    Raises:
        BadLine: it is none of them.
    """
    kind = _KINDS.get(line[:6])
    if kind is None and line.strip() and not is_conflict_marker(line):
        record = read_object(line)
        kind = next((_NAMES[key] for key in record if key in _NAMES and key != "id"), None)
        if kind is None and "role" in record:
            kind = "message"
        if kind is None:
            raise BadLine
    return kind or ""


def kind_at_start(line: bytes) -> str:
    """Return the kind of a damaged line, by its first bytes; empty if these are damaged too."""
    return _KINDS.get(line[:6], "")


def is_conflict_marker(line: bytes) -> bool:
    """Return True for a line that git writes between the lines of two copies that it did not merge."""
    return line.startswith((b"<<<<<<< ", b"||||||| ", b">>>>>>> ")) or line.rstrip() == b"======="


def check_version(record: dict[str, Any], path: object) -> int:
    """Return the version of a log from its first line.

    Raises:
        BadLine: it has none.
        NewerVersion: a newer omniagent wrote it.
    """
    version = record.get("version")
    if type(version) is not int or version < 1:
        raise BadLine
    if version > LOG_VERSION:
        raise NewerVersion(
            f"the session file {path} has format version {version}; this omniagent supports up to {LOG_VERSION};"
            " update omniagent"
        )
    return version


def check_uid(uid: object) -> str:
    """Return a uid read from a file.

    Raises:
        BadLine: it cannot be part of a file name.
    """
    if not isinstance(uid, str) or not _UID.fullmatch(uid):
        raise BadLine
    return uid


def _time(text: object) -> str:
    if not isinstance(text, str) or not _STAMP.fullmatch(text):
        raise BadLine
    return text


def later(stamp: str, last: str) -> str:
    """Return a stamp after the last one: this one, or the last one with a higher counter."""
    if stamp > last:
        return stamp
    time, _, counter = last.partition("/")
    if counter == "9999":
        from datetime import timedelta

        from omniagent_cli.json_format import format_time, parse_time

        return format_time(parse_time(time) + timedelta(microseconds=1))
    return f"{time}/{int(counter or 0) + 1:04d}"


def read_object(line: bytes) -> dict[str, Any]:
    """Parse a line that holds a JSON object.

    Raises:
        BadLine: it does not.
    """
    try:
        record = load(line.strip())
    except ValueError as error:
        raise BadLine from error
    if not isinstance(record, dict):
        raise BadLine
    return record


def _is_object(payload: bytes) -> bool:
    return payload[:1] == b"{" and payload[-1:] == b"}" and b"\n" not in payload


def _collides(payload: bytes) -> bool:
    """Return True if a payload has keys of the line; a damaged payload is written unchanged."""
    if not _COLLISION.search(payload):
        return False
    try:
        return not load(payload).keys().isdisjoint(_OWN)
    except ValueError:
        return False


def to_base64(payload: bytes) -> str:
    """Return any bytes as text."""
    return base64.b64encode(payload).decode("ascii")


def from_base64(text: object) -> bytes:
    """Return the bytes of a text written by `to_base64`.

    Raises:
        BadLine: it is not one.
    """
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, TypeError, ValueError) as error:
        raise BadLine from error
