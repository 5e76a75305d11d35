"""``llm``: the log of the `llm` command line, ``logs.db`` (``llm logs path``), of both schema generations.

Before 0.36, a row of ``responses`` holds a prompt and its answer; since then messages form a tree by hash
(``messages``, ``parts``) and a ``thread`` points to its newest message. One file may contain both; a conversation
that the newer version continued is complete in the newer schema. https://llm.datasette.io/en/stable/logging.html

Messages are identified by content, not by id, so a conversation is the same session in both schemas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.readers.database import UNREADABLE, Database, Row, open_database
from omniagent_cli.formats.readers.message_sequence import MessageSequence
from omniagent_cli.formats.readers.records import (
    as_text,
    merge_parts,
    message,
    objects_of,
    parse_timestamp,
    session_header,
    text_of,
    tool_call,
)
from omniagent_cli.formats.types import (
    Entry,
    IncomingSession,
    MessageEntry,
    ReaderItem,
    problem,
)

_OLDER = frozenset({"responses"})
_NEWER = frozenset({"threads", "turns", "messages", "parts"})
_ROLES = frozenset({"system", "user", "assistant"})


class Llm:
    """Reader of all conversations of a log."""

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the conversations, those of the older schema first."""
        with open_database(source) as log:
            try:
                is_older, is_newer = log.tables >= _OLDER, log.tables >= _NEWER
                if not (is_older or is_newer):
                    yield problem(source.name, "not a database of llm or another known tool")
                if is_older:
                    yield from _Responses(log).conversations()
                if is_newer:
                    yield from _Threads(log).conversations()
            except UNREADABLE as error:
                yield problem(
                    source.name,
                    f"the database cannot be read completely: {log.describe_error(error)}",
                )


class _Conversations:
    """Base of the two schema generations."""

    def __init__(self, log: Database) -> None:
        self._log = log

    def _incoming(self, source_id: str, created: Any, **fields: Any) -> IncomingSession:
        location = f"{self._log.location}:{source_id}"
        header = session_header("llm", source_id, created=created, **fields)

        def reread() -> Iterator[Entry]:
            return MessageSequence(parse_timestamp(created)).entries(
                self._guarded_entries(location, source_id)
            )

        def as_branch(first: str) -> IncomingSession:
            return self._incoming(source_id, created, **{**fields, "branch": first})

        return IncomingSession(location, header, reread(), reread=reread, as_branch=as_branch)

    def _guarded_entries(self, location: str, source_id: str) -> Iterator[Entry]:
        """Yield the messages of a conversation; an unreadable rest becomes a problem."""
        try:
            yield from self._entries(location, source_id)
        except (*UNREADABLE, InvalidRecord) as error:
            yield problem(location, f"cannot be read completely: {self._log.describe_error(error)}")

    def _entries(self, location: str, source_id: str) -> Iterator[MessageEntry]:
        raise NotImplementedError


class _Responses(_Conversations):
    """Older schema: a row per prompt and answer."""

    def conversations(self) -> Iterator[IncomingSession]:
        """Yield each conversation; a response without one is a conversation of its own."""
        self._log.create_index("asked", "responses", "coalesce(conversation_id, id)", "id")
        self._log.create_index("called", "tool_calls", "response_id", "id")
        self._log.create_index("returned", "tool_results", "response_id", "id")
        rows = self._log.rows(
            "SELECT owner, min(row) AS first, max(row) AS last FROM asked GROUP BY owner"
        )
        for row in rows:
            source_id = text_of(row["owner"])
            if not source_id or self._log.has_row("threads", source_id):
                continue
            named = self._log.one("conversations", "id", source_id)
            times = [
                self._log.row_at("responses", row[key]).get("datetime_utc")
                for key in ("first", "last")
            ]
            yield self._incoming(
                source_id, times[0], updated=times[1], title=named.get("name"), model=text_of(named.get("model"))
            )  # fmt: skip

    def _entries(self, location: str, source_id: str) -> Iterator[MessageEntry]:
        system = ""
        for row in self._log.owned_rows("asked", "responses", source_id):
            texts = [*self._fragments("system_fragments", row), text_of(row.get("system"))]
            text = "\n\n".join(filter(None, texts))
            at = row.get("datetime_utc")
            if text and text != system:
                system = text
                yield MessageEntry(location, message("system", text, at=at))
            for record in (*self._results(row), *self._question(row), self._answer(row)):
                yield MessageEntry(location, record)

    def _question(self, row: Row) -> Iterator[Row]:
        texts = [*self._fragments("prompt_fragments", row), text_of(row.get("prompt"))]
        parts = [{"type": "text", "text": text} for text in texts if text]
        attachment_labels = self._log.linked_rows(
            "prompt_attachments", "response_id", row["id"], "attachments", "attachment_id"
        )
        parts += map(self._log.content_part, attachment_labels)
        if parts:
            yield message("user", merge_parts(parts), at=row.get("datetime_utc"))

    def _answer(self, row: Row) -> Row:
        calls = self._log.owned_rows("called", "tool_calls", row["id"])
        return message(
            "assistant", text_of(row.get("response")), at=row.get("datetime_utc"), model=_model(row),
            thinking=text_of(row.get("reasoning")), usage=_usage(row),
            tool_calls=[tool_call(c.get("tool_call_id"), c.get("name"), self._arguments(c)) for c in calls],
        )  # fmt: skip

    def _arguments(self, call: Row) -> Any:
        """Return the arguments of a call as the newer schema stores them, regardless of white space."""
        text = text_of(call.get("arguments"))
        return self._log.json(text) or text

    def _results(self, row: Row) -> Iterator[Row]:
        for rows in self._log.owned_rows("returned", "tool_results", row["id"]):
            failed = text_of(rows.get("exception"))
            yield message(
                "tool", text_of(rows.get("output")) or failed, at=row.get("datetime_utc"), name=text_of(rows.get("name")),
                tool_call_id=text_of(rows.get("tool_call_id")), failed=bool(failed),
            )  # fmt: skip

    def _fragments(self, link: str, row: Row) -> list[str]:
        rows = self._log.linked_rows(link, "response_id", row["id"], "fragments", "fragment_id")
        return [text_of(one.get("content")) for one in rows]


class _Threads(_Conversations):
    """Newer schema: messages that point to their parent by hash."""

    def conversations(self) -> Iterator[IncomingSession]:
        """Yield each thread."""
        for row in self._log.rows(
            "SELECT id, name, forked_from, datetime_utc FROM threads ORDER BY id"
        ):
            source_id = text_of(row["id"])
            times = next(
                self._log.rows(
                    "SELECT min(datetime_utc) AS began, max(datetime_utc) AS ended, model FROM turns WHERE thread_id = ?",
                    source_id,
                )
            )
            if source_id:
                yield self._incoming(
                    source_id, times["began"] or row["datetime_utc"], updated=times["ended"], title=row["name"],
                    model=text_of(times["model"]), forked_from=text_of(row["forked_from"]),
                )  # fmt: skip

    def _entries(self, location: str, source_id: str) -> Iterator[MessageEntry]:
        answered, asking = {}, {}
        statement = "SELECT * FROM turns WHERE thread_id = ? ORDER BY datetime_utc, id"
        for turn in self._log.rows(statement, source_id):
            fields = {
                key: value
                for key, value in turn.items()
                if key not in ("response_json", "options_json")
            }
            answered[turn["tip_message_hash"]] = asking[turn["parent_message_hash"]] = fields
        for key in self._chain(self._log.one("threads", "id", source_id).get("tip_message_hash")):
            role = text_of(self._log.one("messages", "hash", key).get("role"))
            turn = answered.get(key) or asking.get(key) or {}
            for record in self._records(
                key, role, turn, usage=_usage(turn) if key in answered else {}
            ):
                yield MessageEntry(location, record)

    def _chain(self, tip: Any) -> list[str]:
        """Return the hashes from the first message to the newest; a cycle is followed once."""
        rows: dict[str, None] = {}
        while isinstance(tip, str) and tip not in rows:
            row = self._log.one("messages", "hash", tip)
            if not row:
                break
            rows[tip] = None
            tip = row["parent_hash"]
        return list(reversed(rows))

    def _records(self, key: str, role: str, turn: Row, *, usage: dict[str, int]) -> Iterator[Row]:
        at = turn.get("datetime_utc")
        parts: list[Row] = []
        calls: list[Row] = []
        thinking: list[str] = []
        for part in self._log.rows(
            "SELECT * FROM parts WHERE message_hash = ? ORDER BY position", key
        ):
            payload, kind = self._log.json(part["payload"]), text_of(part["type"])
            if kind == "tool_call":
                name = part["tool_name"] or payload.get("name")
                calls.append(
                    tool_call(payload.get("tool_call_id"), name, payload.get("arguments", {}))
                )
            elif kind == "tool_result":
                yield self._result(part, payload, at)
            elif kind == "reasoning":
                thinking.append(self._text(part, payload))
            elif kind == "attachment":
                attachment_labels = self._log.linked_rows(
                    "part_attachments", "part_id", part["id"], "attachments", "attachment_id"
                )
                parts += map(self._log.content_part, attachment_labels)
            else:
                parts.append({"type": "text", "text": self._text(part, payload)})
        content, thought = merge_parts(parts), "\n\n".join(filter(None, thinking))
        if content or calls or thought:
            yield message(
                role if role in _ROLES else "user", content, at=at, model=_model(turn) if role == "assistant" else "",
                thinking=thought, tool_calls=calls, usage=usage,
            )  # fmt: skip

    def _result(self, part: Row, payload: Row, at: Any) -> Row:
        failed = text_of(payload.get("exception"))
        text = self._text(part, payload) or as_text(payload.get("output")) or failed
        return message(
            "tool", text, at=at, name=text_of(part["tool_name"]), tool_call_id=text_of(payload.get("tool_call_id")),
            failed=bool(failed),
        )  # fmt: skip

    def _text(self, part: Row, payload: Row) -> str:
        """Return the text of a part; long texts are assembled from shared fragments."""
        if text := text_of(part["text"]):
            return text
        rows = payload.get("text_ref") or payload.get("output_ref")
        pieces = [
            text_of(piece.get("literal")) or text_of(self._log.one("fragments", "id", piece.get("fragment")).get("content"))
            for piece in objects_of(rows)
        ]  # fmt: skip
        return "".join(pieces) or text_of(payload.get("text"))


def _model(row: Row) -> str:
    return text_of(row.get("resolved_model")) or text_of(row.get("model"))


def _usage(row: Row) -> dict[str, int]:
    counts = {key: row.get(key) for key in ("input_tokens", "output_tokens")}
    return {key: n for key, n in counts.items() if isinstance(n, int)}
