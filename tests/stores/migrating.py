"""Stores to migrate, and what two stores that hold the same have in common."""

from __future__ import annotations

from typing import Any

from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.transfer.copy_session import live_headers, portions, records

SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def fill(store: SessionStore) -> SessionStore:
    """Put everything into a store that a store can hold; the second message of `cut` is in the trash."""
    uid = store.write(
        "full/Ärger 😀",
        [
            {"id": "m0", "role": "user", "content": "a \ud83d half", "turn_id": "t0"},
            {
                "role": "assistant",
                "model": "a:b",
                "status": "interrupted",
                "usage": {"input_tokens": 3},
                "extra": {"thinking": "hm"},
                "tool_calls": [{"id": "c", "function": {"name": "ls", "arguments": "{}"}}],
                "x_future": [1, {"deep": None}],
            },
            {"role": "tool", "content": "", "tool_call_id": "c", "name": "ls"},
            {"role": "user", "content": [{"type": "file", "name": "a", "sha256": SHA}]},
        ],
        agent_id="agent",
        model="a:b",
    ).uid
    assert uid
    store.set_title("full/Ärger 😀", "Title", source="user")
    store.set_metadata("full/Ärger 😀", "pinned", True)
    store.set_metadata("full/Ärger 😀", "nothing", None)
    store.set_state("full/Ärger 😀", "step", {"n": 1.5})
    store.set_ttl("full/Ärger 😀", "30d")
    store.put_attachment("full/Ärger 😀", SHA, {"name": "a", "data": "dGVzdA=="})
    store.put_summary("full/Ärger 😀", 1, {"text": "about"})
    store.append("cut", [{"role": "user", "content": f"c{n}"} for n in range(5)])
    store.truncate_from("cut", 3)
    store.trim("cut", 1)
    store.append("archived", {"role": "user", "content": "x"})
    store.set_metadata("archived", "archived", True)
    store.get_or_create("empty")
    store.append("gone", {"role": "user", "content": "bye"})
    store.delete("gone")
    return store


def content(store: SessionStore) -> dict[str, Any]:
    """Return everything in a store that a migration carries, by id (the trash by uid)."""
    told: dict[str, Any] = {}
    for hidden in (False, True):
        for header in live_headers(store, hidden=hidden):
            told[header.id] = {
                "uid": header.uid,
                "times": (header.created_at, header.updated_at, header.expires_at),
                "facts": (header.agent_id, header.model, header.ttl_seconds, header.next_position),
                "flags": (header.pinned, header.archived, header.message_count),
                "preview": store.row_codec.preview(header),
                "data": store.row_codec.data(header),
                "records": list(records(store, header)),
                "messages": [
                    (message.position, message.record)
                    for portion in portions(store, header)
                    for message in portion
                ],
            }
    return told
