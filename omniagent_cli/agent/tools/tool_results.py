"""What a tool returned, as the text a model is told; what is too long or no text is kept whole beside it."""

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
"""The longest result a model is told; the rest would not fit its window anyway."""

MAX_FULL_OUTPUT_BYTES = 16_000_000
"""The longest result that is kept whole."""

FULL_OUTPUT = "whole_result"
"""Key of a message's ``extra`` that tells where the whole is: ``sha256``, ``size`` (bytes), ``media_type``."""

_TEXT = "text/plain; charset=utf-8"
_BINARY = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class FullOutput:
    """A result as it was returned; the session keeps it as an attachment."""

    data: bytes
    media_type: str = _TEXT

    @property
    def sha256(self) -> str:
        """What it is kept under."""
        return sha256(self.data).hexdigest()

    def reference(self) -> dict[str, Any]:
        """Return what the message has of it, under `FULL_OUTPUT`."""
        return {"sha256": self.sha256, "size": len(self.data), "media_type": self.media_type}

    def record(self, name: str) -> dict[str, Any]:
        """Return the attachment; see `SessionStore.attachment`."""
        return {
            "name": name,
            "media_type": self.media_type,
            "size": len(self.data),
            "data": b64encode(self.data).decode(),
        }


def format_result(value: Any, printed: str) -> tuple[str, FullOutput | None]:
    """Return what the model is told, and the whole when that is not all.

    Text is told as it is, bytes by their size, anything else as JSON. What was printed comes after it, or instead of
    a None, because that is how a function that only prints is meant.

    Raises:
        InvalidRecord: it is no text and no JSON value.
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
            else "it holds itself, or is nested too deeply"
        )
        raise InvalidRecord(
            f"it returned a {type(value).__name__}, which is neither text nor JSON: {why}"
        ) from error


def _plain(value: Any) -> Any:
    """Take dataclasses, pydantic models and enumerations, also inside lists and objects, for the data they hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _binary(data: bytes, printed: str) -> tuple[str, FullOutput | None]:
    note = f"(binary, {len(data):,} bytes, not shown)"
    whole = FullOutput(data, _BINARY) if 0 < len(data) <= MAX_FULL_OUTPUT_BYTES else None
    return (f"{note}\n(printed: {printed})"[:MAX_RESULT_CHARACTERS] if printed else note), whole


def _cut(text: str) -> tuple[str, FullOutput | None]:
    if len(text) <= MAX_RESULT_CHARACTERS:
        return text, None
    data = text.encode("utf-8", "surrogatepass")
    more = f"(cut: {len(text) - MAX_RESULT_CHARACTERS} more characters)"
    return f"{text[:MAX_RESULT_CHARACTERS]}\n{more}", FullOutput(data) if len(
        data
    ) <= MAX_FULL_OUTPUT_BYTES else None


def with_full_output(store: SessionStore, session_id: str, message: Message) -> Message:
    """Return a tool's message with its result as it was returned, when it is text and the session has it."""
    reference = (message.extra or {}).get(FULL_OUTPUT)
    if message.role != "tool" or not isinstance(reference, dict):
        return message
    record = store.attachment(session_id, str(reference.get("sha256")))
    if not isinstance(record, dict) or record.get("media_type") != _TEXT:
        return message
    whole = message.copy()
    whole.content = b64decode(record["data"]).decode("utf-8", "surrogatepass")
    return whole
