"""Sessions for export, and round-trip helpers."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from omniagent_cli.formats.exporter import export_sessions
from omniagent_cli.formats.importer import ImportReport, import_stream
from omniagent_cli.stores import SessionStore, open_store

START = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def exported(store: SessionStore, ids, format_name: str = "jsonl", **options) -> bytes:
    out = io.BytesIO()
    export_sessions(store, ids, format_name, out.write, **options)
    return out.getvalue()


def imported(store: SessionStore, data: bytes, name: str = "in", **options) -> ImportReport:
    return import_stream(store, io.BytesIO(data), name=name, **options)


def texts(store: SessionStore, session_id: str) -> list[str]:
    return [message.text for message in store.messages(session_id)]


def message_record(role: str, content, message_id: str, minute: int = 0, **keys) -> dict:
    moment = (START + timedelta(minutes=minute)).isoformat()
    return {"id": message_id, "role": role, "content": content, "created_at": moment, **keys}


def rich_store() -> SessionStore:
    """Return a store with two sessions that use every feature, always the same."""
    store = open_store("memory:", ttl=None, clock=lambda: START)
    store.append(
        "trip/Ärger 😀",
        [
            message_record("system", "Be brief.", "m0"),
            message_record(
                "user", "Where is `key.pem`?\n```sh\nls ~/.ssh\n", "m1", 1, turn_id="m1"
            ),
            message_record(
                "assistant",
                "",
                "m2",
                2,
                turn_id="m1",
                model="openai:gpt-6.1-sol",
                tool_calls=[
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "ls", "arguments": '{"path":"~/.ssh"}'},
                    }
                ],
            ),
            message_record(
                "tool",
                "key.pem\n````\n\x1b[31mred",
                "m3",
                2,
                turn_id="m1",
                tool_call_id="c1",
                name="ls",
            ),
            message_record(
                "assistant",
                "There: **key.pem**. <script>alert(1)</script>\n<!-- hidden",
                "m4",
                3,
                turn_id="m1",
                model="openai:gpt-6.1-sol",
                usage={"input_tokens": 12, "output_tokens": 5},
                status="interrupted",
                extra={"thinking": "hm"},
                future_key=[1, {"deep": None}],
            ),
            message_record(
                "user",
                [
                    {"type": "text", "text": "and \ud83d this?"},
                    {"type": "file", "name": "a.txt", "sha256": SHA},
                ],
                "m5",
                4,
                turn_id="m5",
            ),
        ],
    )
    store.set_title("trip/Ärger 😀", "Keys *and* # others")
    store.set_model("trip/Ärger 😀", "openai:gpt-6.1-sol")
    store.set_ttl("trip/Ärger 😀", "30d")
    store.set_metadata("trip/Ärger 😀", "tags", ["work"])
    store.set_metadata("trip/Ärger 😀", "nothing", None)
    store.set_state("trip/Ärger 😀", "step", {"n": 1.5})
    store.put_attachment(
        "trip/Ärger 😀",
        SHA,
        {"name": "a.txt", "media_type": "text/plain", "size": 4, "data": "dGVzdA=="},
    )
    store.put_summary("trip/Ärger 😀", 4, {"text": "about keys", "model": "openai:gpt-6.1-sol"})
    store.append("short", message_record("assistant", "Hello first.", "s0"))
    store.append("short", message_record("user", "Hello.", "s1", 1))
    return store


RICH = ["trip/Ärger 😀", "short"]
