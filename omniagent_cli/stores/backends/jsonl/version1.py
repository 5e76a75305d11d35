"""Logs of version 1, and how they are read as logs of the current one.

``{"position":...}`` is a message, with ``"replaces":true`` a later version of it; ``{"header":{...},"log":{...},"data":{...}}``
ends every change and has all columns, and title, metadata and state when they changed; ``{"record":...}`` is as today.
Lines after the last header line belong to an unfinished change.
"""

from __future__ import annotations

import tempfile
from typing import Any

from omniagent_cli.json_format import dump
from omniagent_cli.stores.backend import HEADER_COLUMNS, HeaderRow, MessageRow
from omniagent_cli.stores.backends.jsonl.batch import Batch, new_log
from omniagent_cli.stores.backends.jsonl.line_reader import LineReader
from omniagent_cli.stores.backends.jsonl.lines import (
    BadLine,
    check_uid,
    from_base64,
    read_object,
    record_payload,
)
from omniagent_cli.stores.backends.jsonl.state import State

_OWN = ("position", "replaces", "id", "turn_id", "role", "created_at", "status", "payload")


def converted(tape: LineReader) -> LineReader:
    """Return a copy of a log of version 1 in the current form, as an open temporary file.

    Raises:
        BadLine: it has no readable header.
    """
    first, header, replaced, records, end = _survey(tape)
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the reader closes it
    line = new_log(header, empty=False)
    file.write(line)
    batch = Batch(State.begin(line), header, bulk=True)
    for offset, text in tape.forward(first, end):
        if text.startswith((b'{"header":', b'{"record":')) or not text.strip():
            continue
        try:
            position, again = _place(text)
            if not again:
                newest = replaced.get(position, offset)
                batch.add([_row(text if newest == offset else _line(tape, newest))])
                file.write(batch.drain())
        except BadLine:
            file.write(text + b"\n")  # it stays damaged
    batch.records(
        {key: record_payload(read_object(_line(tape, at))) for key, at in records.items()}
    )
    file.write(batch.render(revision=None))
    file.flush()
    return LineReader(tape.path, file)


def _survey(
    tape: LineReader,
) -> tuple[int, HeaderRow, dict[int, int], dict[tuple[str, str], int], int]:
    """Return the offset of line 2, the header, offsets of replaced messages and of records, and the end."""
    lines = tape.forward(0, tape.size)
    _, text = next(lines)
    identity = read_object(text)
    first = len(text) + 1
    header = HeaderRow(
        check_uid(identity.get("uid")),
        identity["id"],
        identity["created_at"],
        identity["created_at"],
    )
    header.payload, end = b"{}", first
    replaced: dict[int, int] = {}
    records: dict[tuple[str, str], int] = {}
    pending: list[tuple[dict[Any, int], Any, int]] = []
    for offset, text in lines:
        try:
            if b'"replaces":true' in text[:60]:
                pending.append((replaced, _place(text)[0], offset))
            elif text.startswith(b'{"record":'):
                record = read_object(text)
                pending.append((records, (record["record"], record["key"]), offset))
            elif text.startswith(b'{"header":'):
                header = _header(text, header)
                for target, key, place in pending:
                    target[key] = place
                pending, end = [], offset + len(text) + 1
        except (BadLine, KeyError, TypeError):
            continue
    return first, header, replaced, records, min(end, tape.size)


def _header(text: bytes, before: HeaderRow) -> HeaderRow:
    record = read_object(text)
    small: Any = record["header"]
    names = [name for name in HEADER_COLUMNS[1:-2] if name in small]
    header = HeaderRow(before.uid, **{name: small[name] for name in names})
    preview = small.get("preview", "")
    if isinstance(preview, dict):
        header.preview = from_base64(preview["payload"])
    elif preview:
        header.preview = dump(preview)
    header.payload = before.payload
    if "data" in record:
        header.payload = dump(record["data"])
    elif "payload" in record:
        header.payload = from_base64(record["payload"])
    return header


def _place(text: bytes) -> tuple[int, bool]:
    record = read_object(text)
    position = record.get("position")
    if type(position) is not int or position < 0:
        raise BadLine
    return position, record.get("replaces") is True


def _row(text: bytes) -> MessageRow:
    record = read_object(text)
    own = {key: record.pop(key, None) for key in _OWN}
    if not all(isinstance(own[key], str) for key in ("id", "role", "created_at")):
        raise BadLine
    payload = own["payload"]
    if payload is None or isinstance(payload, dict):
        payload = dump(record if payload is None else payload)
    else:
        payload = from_base64(payload)
    del own["replaces"]
    return MessageRow(**{**own, "payload": payload})


def _line(tape: LineReader, offset: int) -> bytes:
    return next(tape.forward(offset, tape.size))[1]
