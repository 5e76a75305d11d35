"""Large files of tools whose files are a sequence of similar objects, and of databases with a row per message."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple


class Shape(NamedTuple):
    """The form of a file.

    Attributes:
        message: returns the object of a message: its number, True for the user's, its text, its time.
        start: what comes before the messages of a session, with its number.
        end: what comes after them.
        opening, closing: around all sessions.
        between: separator of messages; sessions are separated by a comma, if there may be many.
        is_keyed: messages are members of an object, not elements.
    """

    message: Callable[[int, bool, str, str], Any]
    start: str = ""
    end: str = ""
    opening: str = ""
    closing: str = ""
    between: str = ","
    is_keyed: bool = False

    def write(self, file: BinaryIO, sessions: Iterator[Iterator[Any]]) -> None:
        """Write sessions of `histories.Piece` objects."""
        file.write(self.opening.encode())
        for pieces in sessions:
            for piece in pieces:
                number = piece.number
                if number == 0:
                    start = self.start % piece.session if "%d" in self.start else self.start
                    file.write(("," if piece.session else "").encode() + start.encode())
                else:
                    file.write(self.between.encode())
                value = json.dumps(self.message(number, piece.is_question, piece.text, piece.at))
                key = f'"m{number}":' if self.is_keyed else ""
                file.write((key + value).encode())
            file.write(self.end.encode())
        file.write(self.closing.encode())


def _parent(number: int) -> str | None:
    return f"m{number - 1}" if number else None


def _seconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp())


def _role(asks: bool, answer: str = "assistant") -> str:
    return "user" if asks else answer


def _line(message: Callable[[int, bool, str, str], Any], start: str = "") -> Shape:
    return Shape(message, start=f"{start}\n" if start else "", end="\n", between="\n")


SHAPES = {
    "deepseek": Shape(lambda n, asks, text, at: {"id": f"m{n}", "parent": _parent(n), "children": [f"m{n + 1}"], "message": {
        "files": [], "model": "d", "inserted_at": at, "fragments": [{"type": "REQUEST" if asks else "RESPONSE", "content": text}]}},
        '{"id":"c%d","title":"t","inserted_at":"2026-01-01T00:00:00Z","mapping":{', "}}", "[", "]", is_keyed=True),
    "grok": Shape(lambda n, asks, text, at: {"response": {"_id": f"m{n}", "message": text, "sender": "human" if asks else "ASSISTANT", "create_time": at,
        "model": "g", "parent_response_id": _parent(n)}},
        '{"conversation":{"id":"c%d","title":"t"},"responses":[', "]}", '{"conversations":[', "]}"),
    "open-webui": Shape(lambda n, asks, text, at: {"id": f"m{n}", "parentId": _parent(n), "childrenIds": [f"m{n + 1}"], "role": _role(asks), "content": text,
        "timestamp": _seconds(at)}, '{"id":"c%d","title":"t","chat":{"title":"t","models":["m"],"history":{"messages":{', "}}}}", "[", "]", is_keyed=True),
    "librechat": Shape(lambda n, asks, text, at: {"messageId": f"m{n}", "parentMessageId": _parent(n) or "0", "createdAt": at, "isCreatedByUser": asks, "text": text},
        '{"conversationId":"c0","title":"t","messages":[', "]}"),
    "lm-studio": Shape(lambda n, asks, text, at: {"versions": [{"type": "singleStep", "role": _role(asks), "content": [{"type": "text", "text": text}]}],
        "currentlySelected": 0}, '{"name":"t","createdAt":1730000000000,"tokenCount":1,"messages":[', "]}"),
    "chatbox": Shape(lambda n, asks, text, at: {"id": f"m{n}", "role": _role(asks), "contentParts": [{"type": "text", "text": text}], "timestamp": _seconds(at) * 1000},
        '{"id":"c%d","name":"t","type":"chat","messages":[', "]}", '{"chat-sessions":[', "]}"),
    "typingmind": Shape(lambda n, asks, text, at: {"uuid": f"m{n}", "role": _role(asks), "content": text, "createdAt": at},
        '{"chatID":"c%d","chatTitle":"t","messages":[', "]}", '{"data":{"chats":[', "]}}"),
    "jan": _line(lambda n, asks, text, at: {"id": f"m{n}", "object": "thread.message", "thread_id": "c0", "role": _role(asks), "status": "ready",
        "content": [{"type": "text", "text": {"value": text, "annotations": []}}], "created_at": _seconds(at) * 1000}),
    "sillytavern": _line(lambda n, asks, text, at: {"name": "A" if asks else "B", "is_user": asks, "is_system": False, "send_date": at, "mes": text, "extra": {}},
        '{"user_name":"A","character_name":"B","create_date":"2026-1-5@10h00m00s","chat_metadata":{}}'),
    "pi": _line(lambda n, asks, text, at: {"type": "message", "id": f"m{n}", "parentId": _parent(n), "timestamp": at,
        "message": {"role": _role(asks), "content": [{"type": "text", "text": text}]}},
        '{"type":"session","version":3,"id":"c0","timestamp":"2026-01-05T10:00:00.000Z","cwd":"/w"}'),
    "qwen-code": _line(lambda n, asks, text, at: {"uuid": f"m{n}", "parentUuid": _parent(n), "sessionId": "c0", "timestamp": at, "type": _role(asks), "cwd": "/w",
        "message": {"role": _role(asks, "model"), "parts": [{"text": text}]}}),
    "gptme": _line(lambda n, asks, text, at: {"role": _role(asks), "content": text, "timestamp": at}),
    "hermes": _line(lambda n, asks, text, at: {"role": _role(asks), "content": text, "timestamp": at},
        '{"role":"session_meta","session_id":"c0","tools":[],"model":"m","platform":"cli","timestamp":"2026-01-05T10:00:00"}'),
    "copilot-cli": _line(lambda n, asks, text, at: {"type": f"{_role(asks)}.message", "data": {"content": text}, "id": f"m{n}", "timestamp": at, "parentId": _parent(n)},
        '{"type":"session.start","data":{"sessionId":"c0","copilotVersion":"1.0.0"},"id":"e","timestamp":"2026-01-05T10:00:00Z","parentId":null}'),
    "cline": Shape(lambda n, asks, text, at: {"ts": _seconds(at) * 1000, "type": "say", "say": "user_feedback" if asks and n else "text", "text": text}, "[", "]"),
    "anthropic": Shape(lambda n, asks, text, at: {"role": _role(asks), "content": [{"type": "text", "text": text}] if n != 1 else [
        {"type": "thinking", "thinking": "x", "signature": "s"}, {"type": "text", "text": text}]}, "[", "]"),
    "le-chat": Shape(lambda n, asks, text, at: {"id": f"m{n}", "version": 0, "chatId": "c0", "content": text, "contentChunks": None, "role": _role(asks), "createdAt": at,
        "files": []}, "[", "]"),
    "ai-studio": Shape(lambda n, asks, text, at: {"text": text, "role": _role(asks, "model"), "createTime": at},
        '{"runSettings":{"model":"m"},"chunkedPrompt":{"chunks":[', "]}}"),
    "opencode": Shape(lambda n, asks, text, at: {"info": {"id": f"m{n}", "role": _role(asks), "time": {"created": _seconds(at) * 1000}}, "parts": [
        {"type": "text", "text": text}]}, '{"info":{"id":"ses_1","title":"t","directory":"/w","time":{"created":1}},"messages":[', "]}"),
    "copilot-chat": Shape(lambda n, asks, text, at: {"requestId": f"m{n}", "message": {"text": text * asks, "parts": []}, "response": [{"value": text * (not asks)}], "timestamp": _seconds(at) * 1000},
        '{"requesterUsername":"me","responderUsername":"GitHub Copilot","requests":[', "]}"),
    "goose": _line(lambda n, asks, text, at: {"role": _role(asks), "created": _seconds(at), "content": [{"type": "text", "text": text}]},
        '{"working_dir":"/w","description":"t","message_count":4,"total_tokens":10}'),
}  # fmt: skip
MANY = frozenset({"deepseek", "grok", "open-webui", "chatbox", "typingmind"})
"""Formats whose files may hold several conversations."""
WHOLE = frozenset(
    {"deepseek", "grok", "open-webui", "librechat", "lm-studio", "chatbox", "typingmind", "anthropic", "ai-studio", "opencode", "copilot-chat"}
)  # fmt: skip
"""Formats whose conversations are objects that are read as a whole, one at a time."""


def hermes_database(file: BinaryIO, sessions: Iterator[Iterator[Any]]) -> None:
    with sqlite3.connect(file.name) as log:
        log.executescript(
            "CREATE TABLE sessions (id TEXT PRIMARY KEY, source TEXT, model TEXT, title TEXT, started_at REAL, ended_at REAL);"
            "CREATE TABLE messages (id INTEGER PRIMARY KEY, session_id TEXT, role TEXT, content TEXT, tool_call_id TEXT, tool_calls TEXT,"
            " tool_name TEXT, timestamp REAL, finish_reason TEXT, reasoning TEXT)"
        )
        for pieces in sessions:
            for piece in pieces:
                if piece.number == 0:
                    log.execute("INSERT INTO sessions VALUES (?, 'cli', 'm', 't', 1, 2)", (f"c{piece.session}",))  # fmt: skip
                row = (f"c{piece.session}", _role(piece.is_question), piece.text, piece.seconds)
                log.execute("INSERT INTO messages (session_id, role, content, timestamp) VALUES (?, ?, ?, ?)", row)  # fmt: skip
    log.close()


def opencode_database(file: BinaryIO, sessions: Iterator[Iterator[Any]]) -> None:
    with sqlite3.connect(file.name) as log:
        log.executescript(
            "CREATE TABLE session (id text, title text, directory text, time_created integer, time_updated integer);"
            "CREATE TABLE message (id text, session_id text, time_created integer, data text);"
            "CREATE TABLE part (id text, message_id text, session_id text, time_created integer, data text)"
        )
        for pieces in sessions:
            for piece in pieces:
                owner, at = f"c{piece.session}", int(piece.seconds * 1000)
                if piece.number == 0:
                    log.execute("INSERT INTO session VALUES (?, 't', '/w', ?, ?)", (owner, at, at))
                key = f"{owner}-{piece.number:08}"
                info = json.dumps({"role": _role(piece.is_question), "time": {"created": at}})
                log.execute("INSERT INTO message VALUES (?, ?, ?, ?)", (key, owner, at, info))
                part = json.dumps({"type": "text", "text": piece.text})
                log.execute("INSERT INTO part VALUES (?, ?, ?, ?, ?)", (f"p{key}", key, owner, at, part))  # fmt: skip
    log.close()
