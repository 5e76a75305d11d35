"""The last turn of a session."""

from __future__ import annotations

from omniagent_cli.errors import SessionNotFound
from omniagent_cli.models import Message
from omniagent_cli.stores.base import SessionStore

_FIRST_LOOK = 16


def last_turn(store: SessionStore, session_id: str) -> list[Message]:
    """Return the last question and everything after it; nothing when there is no question."""
    wanted = _FIRST_LOOK
    while True:
        try:
            messages = store.messages(session_id, last=wanted)
        except SessionNotFound:
            return []
        places = [place for place, message in enumerate(messages) if message.role == "user"]
        if places:
            return messages[places[-1] :]
        if len(messages) < wanted:
            return []
        wanted *= 4
