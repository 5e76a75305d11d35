"""The documents of ``--json`` by command; `omniagent help json` prints them, and a test checks every command.

A shape mirrors its document: a dictionary is an object, a list of one element an array, a tuple lists alternatives. A
string names a type, with ``|null`` if it may be null, and after a colon its meaning. A key that ends in ``?`` is
optional; the key ``*`` means arbitrary keys.
"""

from __future__ import annotations

from typing import Any

VERSION = 1
"""The version of all shapes; within a version keys are only added."""

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
    "title": "text: empty if there is none",
    "agent_id": "text",
    "model": "text: the model of the last answer; empty before the first",
    "message_count": "integer",
    "created_at": "time",
    "updated_at": "time: of the last activity: a message was added, changed or removed",
    "modified_at": "time: of the last change of any kind",
    "expires_at": "time|null",
    "preview": "text: the first line of the last message",
    "metadata": {"*": "any"},
    "origin?": {
        "cwd?": "text: the directory it began in",
        "git_branch?": "text",
        "program?": "text",
        "*": "any",
    },
}
_REMOVED = [{"id": "text", "messages": "integer: messages removed, or to be removed"}]
_TRASHED = {
    "entry": "text: the value for 'sessions restore --entry'",
    "id": "text",
    "kind": "text: deleted, cleared, trimmed, undone or replaced",
    "title": "text",
    "message_count": "integer",
    "removed_at": "time",
    "expires_at": "time|null: when it can no longer be restored",
}
_USAGE = {"*": "number: tokens as counted by the provider; cost in dollars if prices are set"}
_COUNTS = {"messages": "integer", "input_tokens": "integer", "output_tokens": "integer"}
_RESTORED: dict[str, Any] = {**_TRASHED, "restored_as": "text: the id after the restore"}
_PROMPT: dict[str, Any] = {
    "name": "text",
    "description": "text",
    "model": "text|null",
    "system": "text|null",
    "tools": (["text"], "null: all tools are offered"),
    "variables": {"*": "text|null: the default value; null if it needs a value"},
    "path": "text",
    "project": "boolean: it belongs to a project",
}
_VALUE = "any: the value if a key was given, else an object with all values"
_MESSAGE = {
    "position": "integer: unchanged when other messages are removed",
    "id": "text",
    "role": "text: system, user, assistant or tool",
    "content": ("text", [{"*": "any"}]),
    "created_at": "time",
    "turn_id?": "text|null",
    "status?": "text: complete, interrupted or failed; default: complete",
    "model?": "text",
    "usage?": {"*": "any"},
    "tool_calls?": [{"*": "any"}],
    "tool_call_id?": "text",
    "name?": "text",
    "extra?": {"*": "any"},
    "*": "any: data added by an import or a provider",
}
_IMPORTED = {
    "file": "text",
    "format": "text",
    "imported": "integer: new sessions",
    "merged": "integer: sessions that new messages were added to",
    "skipped": "integer: sessions already present",
    "refused": "integer: sessions refused because of a conflict",
    "messages": "integer: messages imported, or to be imported",
    "left_out": {"*": "integer: records not imported by design, by kind"},
    "sessions": [{"id": "text", "action": "text", "messages": "integer", "reason": "text"}],
    "problems": [{"place": "text", "problem": "text"}],
}
_HISTORY = {
    "format": "text",
    "path": "text",
    "files": "integer",
    "new": "integer: files written since the last import",
    "bytes": "integer",
}
_SETTINGS = {"*": {"value": "any", "from": "text: the source of the value"}}

SHAPES: dict[str, Any] = {
    "ask": {
        "answer": "text",
        "session": "text|null: the id of the session",
        "model": "text",
        "usage": {"*": "number: tokens"},
        "cost?": "number: in dollars, if prices are set",
        "status": "text: complete, interrupted or failed",
        "parsed?": "any: with --schema, the parsed answer",
        "problems?": ["text: with --schema, a violation of the schema"],
        "code?": "text|null: with --extract, the first code block",
    },
    "doctor": {
        "checks": [
            {
                "area": "text: configuration, store, models, extras, mcp, terminal, completion or versions",
                "state": "text: ok, info, warning or problem",
                "what": "text",
                "do": "text: the remedy; empty if there is none",
            }
        ],
        "warnings": "integer",
        "problems": "integer",
    },
    "sessions list": ([_SUMMARY], ["text: with --ids, the ids"]),
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
        "origin?": {"*": "any"},
        "message_count": "integer: messages of the whole session",
        "usage": _USAGE,
        "summary?": {"*": "any"},
        "messages": [_MESSAGE],
        "*": "any: data added by an import",
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
                "matches": [["integer: start and end of a match in the snippet"]],
            }
        ],
        ["text: with --ids, the ids"],
    ),
    "sessions compact": {
        "id": "text",
        "up_to": "integer: the position of the last message it covers",
        "messages": "integer: the number of messages it covers",
        "added": "integer: the number of messages that no earlier summary covers",
        "summary": "text",
        "model": "text",
        "usage": _USAGE,
    },
    "sessions trim": _REMOVED,
    "sessions clear": _REMOVED,
    "sessions delete": _REMOVED,
    "sessions restore": (_RESTORED, [_RESTORED]),
    "sessions trash": ([_TRASHED], {"removed": "integer: with --empty, entries deleted"}),
    "sessions tree": [
        {
            "id": "text: of a deleted session, the id it had",
            "depth": "integer: 0 for a session that was not copied",
            "forked_from": "text|null: the id of the session it was copied from",
            "forked_at": "integer|null: the position of the last message that was copied",
            "exists": "boolean: false for a deleted session",
            "title?": "text",
            "message_count?": "integer",
            "updated_at?": "time",
        }
    ],
    "sessions fork": {"id": "text: the id of the copy", "forked_from": "text"},
    "sessions tag": (
        ["text"],
        [{"id": "text: with --stdin, the id of the session", "tags": ["text"]}],
    ),
    "sessions meta get": _VALUE,
    "sessions state get": _VALUE,
    "sessions import": ([_IMPORTED], [_HISTORY]),
    "sessions stats": {
        "sessions": "integer",
        "archived": "integer: archived sessions",
        "messages": "integer",
        "roles": {"*": "integer: messages"},
        "days": [{"day": "text: such as 2026-11-21", **_COUNTS}],
        "months": [{"month": "text: such as 2026-11", **_COUNTS}],
        "models": [
            {
                "model": "text",
                "answers": "integer",
                "input_tokens": "integer",
                "output_tokens": "integer",
                "cached_tokens?": "integer: input tokens read from the provider's cache",
                "cache_write_tokens?": "integer: input tokens written to the provider's cache",
                "cost?": "number: in dollars, if prices are set",
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
        "trash": "integer: trash entries",
        "compressed": "boolean",
        "encryption": "text: none, or the progress of a change",
        "*": "any: further properties from the backend, such as messages and bytes",
    },
    "store check": [{"session": "text|null", "problem": "text", "repaired": "boolean"}],
    "store migrate": {
        "copied": "integer",
        "replaced": "integer",
        "merged": "integer",
        "equal": "integer: sessions already present",
        "trash": "integer: trash entries",
        "messages": "integer",
        "refused": [{"id": "text", "reason": "text"}],
    },
    "store sync": {
        "sessions": [
            {
                "id": "text",
                "status": "text: changed, new here, new there, deleted here, deleted there or sent",
                "renamed_from": "text|null",
                "received": "integer: messages that are new or changed here",
                "sent": "integer: messages that are new or changed in the other store",
                "removed_here": "integer",
                "removed_there": "integer",
                "restored": "boolean: brought back by messages written after its deletion",
            }
        ],
        "refused": [{"id": "text", "reason": "text"}],
        "notes": ["text"],
    },
    "models list": [
        {
            "model": "text",
            "origin": "text: the key, address or alias that makes it available",
            "updated_at": "time|null",
            "chosen": "boolean: the default model",
            "reason": "text|null: the reason why it is the default",
            "shutdown_date": "text|null: the day, as 2026-12-11",
        }
    ],
    "prompts list": [_PROMPT],
    "prompts show": _PROMPT | {"text": "text"},
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
    "config get": "any: the value of a setting; for a table, an object as printed by 'config list'",
}
"""Shapes by command."""


def schema_of(command: str) -> dict[str, Any]:
    """Return the JSON Schema of the document that a command prints."""
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
