"""Ids in transcripts of other tools: UUIDs that are the same at each export."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid5

from omniagent_cli.formats.readers.records import object_of, text_of

_NAMESPACE = UUID("5b1f0d4a-6c9e-4a57-9c3f-8f0e5a2b7d11")


def session_uuid(header: dict[str, Any], format_name: str) -> str:
    """Return the id of a session: the tool's own if it was imported from there, else one derived from its id."""
    source = object_of(object_of(header.get("metadata")).get("source"))
    if source.get("format") == format_name and not source.get("branch"):
        try:
            return str(UUID(text_of(source.get("id"))))
        except ValueError:
            pass
    return str(uuid5(_NAMESPACE, text_of(header.get("id"))))


def message_uuid(session: str, number: int, message_id: str) -> str:
    """Return the id of a message."""
    return str(uuid5(UUID(session), f"{number} {message_id}"))


def working_directory(header: dict[str, Any]) -> str:
    """Return the directory a session belongs to; ``/`` if it is unknown."""
    source = object_of(object_of(header.get("metadata")).get("source"))
    return text_of(object_of(header.get("origin")).get("cwd")) or text_of(source.get("cwd")) or "/"


def bare_model(name: Any) -> str:
    """Return the name of a model without its provider."""
    return text_of(name).partition(":")[2] or text_of(name)
