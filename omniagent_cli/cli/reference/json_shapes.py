"""What ``--json`` prints, command by command; `omniagent help json` shows it, and a test holds every command to it.

A shape is written as its document looks: a dictionary is an object, a list of one an array, a tuple what it may be
instead. A text names a type, ``|null`` where it may be missing, and says after a colon what it means. A key that ends
in ``?`` may be left out; the key ``*`` stands for keys that are free.
"""

from __future__ import annotations

from typing import Any

VERSION = 1
"""Of all shapes together: keys may be added to it; none is removed, renamed, or given another type or meaning."""

_TYPES: dict[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "number": {"type": "number"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "any": {},
}
_SUMMARY = {
    "id": "text",
    "title": "text: empty when there is none",
    "agent_id": "text",
    "model": "text: the one that answered last; empty before that",
    "message_count": "integer",
    "created_at": "time",
    "updated_at": "time: of the last change",
    "expires_at": "time|null",
    "preview": "text: the first line of the last message",
    "metadata": {"*": "any"},
}
_REMOVED = [{"id": "text", "messages": "integer: how many went, or would go"}]
_TRASHED = {
    "entry": "text: what 'sessions restore --entry' takes",
    "id": "text",
    "kind": "text: deleted, cleared, trimmed, undone or replaced",
    "title": "text",
    "message_count": "integer",
    "removed_at": "time",
    "expires_at": "time|null: it can be restored until then",
}
_USAGE = {"*": "number: tokens, as the provider counts them; cost in dollars where prices are set"}
_SAID = {"messages": "integer", "input_tokens": "integer", "output_tokens": "integer"}
_VALUE = "any: the value, when a key was given; else an object with all of them"
_MESSAGE = {
    "position": "integer: stays when others go",
    "id": "text",
    "role": "text: system, user, assistant or tool",
    "content": ("text", [{"*": "any"}]),
    "created_at": "time",
    "turn_id?": "text|null",
    "status?": "text: complete, interrupted or failed; complete when left out",
    "model?": "text",
    "usage?": {"*": "any"},
    "tool_calls?": [{"*": "any"}],
    "tool_call_id?": "text",
    "name?": "text",
    "extra?": {"*": "any"},
    "*": "any: what an import or a provider added",
}
_IMPORTED = {
    "file": "text",
    "format": "text",
    "imported": "integer: sessions that are new",
    "merged": "integer: sessions that got what was missing",
    "skipped": "integer: sessions that were there already",
    "refused": "integer: sessions that differ",
    "messages": "integer: how many came in, or would",
    "sessions": [{"id": "text", "action": "text", "messages": "integer", "reason": "text"}],
    "problems": [{"place": "text", "problem": "text"}],
}
_HISTORY = {"format": "text", "path": "text", "files": "integer", "bytes": "integer"}
_SETTINGS = {"*": {"value": "any", "from": "text: the place that sets it"}}

SHAPES: dict[str, Any] = {
    "ask": {
        "answer": "text",
        "session": "text|null: where it is kept",
        "model": "text",
        "usage": {"*": "number: tokens"},
        "cost?": "number: in dollars, where prices are set",
        "status": "text: complete, interrupted or failed",
        "parsed?": "any: with --schema, what the answer says",
        "problems?": ["text: with --schema, where the answer does not follow it"],
        "code?": "text|null: with --extract",
    },
    "doctor": {
        "checks": [
            {
                "area": "text: configuration, store, models, extras, mcp, terminal, completion or versions",
                "state": "text: ok, warning or problem",
                "what": "text",
                "do": "text: what to do about it; empty when there is nothing",
            }
        ],
        "warnings": "integer",
        "problems": "integer",
    },
    "sessions list": ([_SUMMARY], ["text: with --ids"]),
    "sessions show": {
        "format": "text",
        "version": "integer",
        "id": "text",
        "uid?": "text",
        "agent_id?": "text",
        "title?": "text",
        "title_source?": "text: auto, model or user",
        "model?": "text",
        "created_at": "time",
        "updated_at": "time",
        "expires_at?": "time",
        "ttl_seconds": "number|null",
        "metadata?": {"*": "any"},
        "state?": {"*": "any"},
        "message_count": "integer: of the whole session",
        "usage": _USAGE,
        "summary?": {"*": "any"},
        "messages": [_MESSAGE],
        "*": "any: what an import added",
    },
    "sessions search": (
        [
            {
                "session_id": "text",
                "title": "text",
                "message_id": "text",
                "position": "integer",
                "role": "text",
                "created_at": "time",
                "snippet": "text",
                "match": ["integer: where in the snippet the match begins and ends"],
            }
        ],
        ["text: with --ids"],
    ),
    "sessions compact": {
        "id": "text",
        "up_to": "integer: the position of the last message it stands for",
        "messages": "integer: how many it stands for",
        "added": "integer: how many of them no summary stood for before",
        "summary": "text",
        "model": "text",
        "usage": _USAGE,
    },
    "sessions trim": _REMOVED,
    "sessions clear": _REMOVED,
    "sessions delete": _REMOVED,
    "sessions restore": {**_TRASHED, "restored_as": "text: the id it has now"},
    "sessions trash": ([_TRASHED], {"removed": "integer: with --empty, how many entries went"}),
    "sessions fork": {"id": "text: of the copy", "forked_from": "text"},
    "sessions tag": (["text"], [{"id": "text: with --stdin", "tags": ["text"]}]),
    "sessions meta get": _VALUE,
    "sessions state get": _VALUE,
    "sessions import": ([_IMPORTED], [_HISTORY]),
    "sessions stats": {
        "sessions": "integer",
        "archived": "integer: of them",
        "messages": "integer",
        "roles": {"*": "integer: messages"},
        "days": [{"day": "text: such as 2026-11-21", **_SAID}],
        "months": [{"month": "text: such as 2026-11", **_SAID}],
        "models": [
            {
                "model": "text",
                "answers": "integer",
                "input_tokens": "integer",
                "output_tokens": "integer",
                "cost?": "number: in dollars, where prices are set",
            }
        ],
        "largest": [{"id": "text", "title": "text", "message_count": "integer"}],
    },
    "sessions prune": {"expired": "integer", "removed": "integer"},
    "store info": {
        "backend": "text",
        "url": "text: without a password",
        "durability": "text",
        "atomic_append": "boolean",
        "native_expiry": "boolean",
        "indexed_search": "boolean",
        "sessions": "integer",
        "expired": "integer",
        "trash": "integer: entries",
        "compressed": "boolean",
        "encryption": "text: none, or how far it is",
        "*": "any: what the backend tells besides, such as messages and bytes",
    },
    "store check": [{"session": "text|null", "problem": "text", "repaired": "boolean"}],
    "store migrate": {
        "copied": "integer",
        "replaced": "integer",
        "equal": "integer: sessions that were there already",
        "trash": "integer: entries of the trash",
        "messages": "integer",
        "refused": [{"id": "text", "reason": "text"}],
    },
    "models list": [
        {
            "model": "text",
            "origin": "text: why it can be used",
            "asked_at": "time|null",
            "chosen": "boolean: it answers where nothing else is named",
            "reason": "text|null: why it is chosen",
        }
    ],
    "keys list": [
        {
            "provider": "text",
            "where": "text: environment, keyring or file",
            "place": "text",
            "used": "boolean",
        }
    ],
    "tools list": [
        {
            "skill": "text",
            "tool": "text",
            "effect": "text: read, write or destroy",
            "description": "text",
            "source": "text",
            "on": "boolean",
            "why_off": "text|null",
        }
    ],
    "config list": _SETTINGS,
    "config get": "any: the value of a setting; of a table an object as 'config list' prints it",
}
"""By the words of the command."""


def schema_of(command: str) -> dict[str, Any]:
    """Return the JSON schema of what a command with ``--json`` prints."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:omniagent:json:{VERSION}:{command.replace(' ', '-')}",
        "title": f"omniagent {command} --json",
        **_schema(SHAPES[command]),
    }


def _schema(shape: Any) -> dict[str, Any]:
    if isinstance(shape, tuple):
        return {"anyOf": [_schema(one) for one in shape]}
    if isinstance(shape, list):
        return {"type": "array", "items": _schema(shape[0])}
    if isinstance(shape, dict):
        return _object(shape)
    kinds, _, text = shape.partition(": ")
    found = [_TYPES[kind] for kind in kinds.split("|")]
    made = dict(found[0]) if len(found) == 1 else {"anyOf": found}
    return {**made, "description": text} if text else made


def _object(shape: dict[str, Any]) -> dict[str, Any]:
    named = {key: value for key, value in shape.items() if key != "*"}
    made: dict[str, Any] = {"type": "object"}
    if named:
        made["properties"] = {key.rstrip("?"): _schema(value) for key, value in named.items()}
        made["required"] = [key for key in named if not key.endswith("?")]
    if "*" in shape:
        made["additionalProperties"] = _schema(shape["*"])
    return made
