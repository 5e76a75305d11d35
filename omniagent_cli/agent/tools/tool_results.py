"""Results of tools as text for a model; output that is too long or binary is stored in full as an attachment."""

from __future__ import annotations

import dataclasses
from base64 import b64decode, b64encode
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import dump
from omniagent_cli.models import Message

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

MAX_RESULT_CHARACTERS = 100_000
"""The maximum length of a result sent to a model."""

MAX_FULL_OUTPUT_BYTES = 16_000_000
"""The maximum size of a result stored in full."""

FULL_OUTPUT = "whole_result"
"""Key in a message's ``extra`` with the reference to the full output: ``sha256``, ``size`` (bytes), ``media_type``."""

_TEXT = "text/plain; charset=utf-8"
_BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FullOutput:
    """The complete output of a tool, stored as an attachment of the session."""

    data: bytes
    media_type: str = _TEXT

    @property
    def sha256(self) -> str:
        """The SHA-256 of the data in hex, the key of the attachment."""
        return sha256(self.data).hexdigest()

    def reference(self) -> dict[str, Any]:
        """Return the reference stored in the message under `FULL_OUTPUT`."""
        return {"sha256": self.sha256, "size": len(self.data), "media_type": self.media_type}

    def record(self, name: str) -> dict[str, Any]:
        """Return the attachment record; see `SessionStore.attachment`."""
        return {
            "name": name,
            "media_type": self.media_type,
            "size": len(self.data),
            "data": b64encode(self.data).decode(),
        }


def format_result(value: Any, printed: str) -> tuple[str, FullOutput | None]:
    """Return the text for the model, and the full output if the text is not all of it.

    Text is passed through, bytes are described by their size, other values are encoded as JSON. Printed output is
    appended, and replaces a result of None, because a function that only prints returns None.

    Raises:
        InvalidRecord: the value is neither text nor JSON.
    """
    if isinstance(value, bytes | bytearray | memoryview):
        return _binary(bytes(value), printed)
    if value is None and printed:
        return _cut(printed)
    text = value if type(value) is str else _json(value)
    return _cut(f"{text}\n(printed: {printed})" if printed else text)


def _json(value: Any) -> str:
    if isinstance(value, str):
        return str(value.value if isinstance(value, Enum) else value)
    try:
        return dump(_plain(value)).decode()
    except (InvalidRecord, RecursionError) as error:
        why = (
            error
            if isinstance(error, InvalidRecord)
            else "it contains itself, or is nested too deeply"
        )
        raise InvalidRecord(
            f"the tool returned a {type(value).__name__}, which is neither text nor JSON: {why}"
        ) from error


def _plain(value: Any) -> Any:
    """Replace dataclasses, pydantic models, enumerations and integer keys by JSON data, at any depth."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key) if type(key) is int else key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _binary(data: bytes, printed: str) -> tuple[str, FullOutput | None]:
    note = f"(binary, {len(data):,} bytes, not shown)"
    full_output = FullOutput(data, _BINARY) if 0 < len(data) <= MAX_FULL_OUTPUT_BYTES else None
    return (
        f"{note}\n(printed: {printed})"[:MAX_RESULT_CHARACTERS] if printed else note
    ), full_output


def _cut(text: str) -> tuple[str, FullOutput | None]:
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text, None
    data = text.encode("utf-8", "surrogatepass")
    more = f"(cut: {len(text) - MAX_RESULT_CHARACTERS} more characters)"
    full_output = FullOutput(data) if len(data) <= MAX_FULL_OUTPUT_BYTES else None
    return f"{text[:MAX_RESULT_CHARACTERS]}\n{more}", full_output


def with_full_output(store: SessionStore, session_id: str, message: Message) -> Message:
    """Return a tool message with its full output, if that is text and the session has it."""
    reference = (message.extra or {}).get(FULL_OUTPUT)
    if message.role != "tool" or not isinstance(reference, dict):
        return message
    record = store.attachment(session_id, str(reference.get("sha256")))
    if not isinstance(record, dict) or record.get("media_type") != _TEXT:
        return message
    full = message.copy()
    full.content = b64decode(record["data"]).decode("utf-8", "surrogatepass")
    return full
