"""``llm``: the log of the `llm` command line, ``logs.db`` (``llm logs path``), of both generations.

Before 0.36 an answer is a row of ``responses``, with its question; since then messages are a tree by hash (``messages``,
``parts``), and a ``thread`` names its newest. One file may hold both. It is read only, never migrated, and its views and
triggers are not used. https://llm.datasette.io/en/stable/logging.html
"""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from omniagent_cli.errors import FormatError
from omniagent_cli.formats.exchange import Incoming, MessageEntry, Problem, problem
from omniagent_cli.formats.foreign import (
    Thread,
    content_of,
    header_of,
    message,
    moment,
    object_of,
    objects_of,
    picture,
    said_of,
    text_of,
    tool_call,
)  # fmt: skip
from omniagent_cli.formats.source import Source

_COPY_BYTES = 1 << 20
_MAX_ATTACHMENT_BYTES = 20 * 1024 * 1024


class Llm:
    """Reads every conversation of a log."""

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the conversations, those of the older form first."""
        with _file_of(source) as path, closing(_connected(path, source.name)) as log:
            try:
                tables = {
                    name
                    for (name,) in log.execute(
                        "SELECT name FROM sqlite_master WHERE type = 'table'"
                    )
                }
                if not tables & {"threads", "responses"}:
                    yield problem(source.name, "it is a database, but not the log of llm")
                    return
                if "responses" in tables:
                    yield from _Responses(log, source.name, tables).conversations()
                if "threads" in tables:
                    yield from _Threads(log, source.name).conversations()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                yield problem(source.name, f"the database cannot be read to its end: {error}")


@contextmanager
def _file_of(source: Source) -> Iterator[Path]:
    """Give the file, or a private copy of what is none, or is packed."""
    if source.path is not None:
        yield source.path
        return
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        while data := source.chunk():
            file.write(data)
        file.flush()
        yield Path(file.name)


def _connected(path: Path, name: str) -> sqlite3.Connection:
    try:
        log = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
        log.execute("PRAGMA trusted_schema = OFF")
        log.execute("PRAGMA query_only = ON")
        log.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise FormatError(f"it cannot be opened as a database: {error}", place=name) from error
    log.row_factory = sqlite3.Row
    log.text_factory = lambda data: data.decode("utf-8", "replace")
    return log


class _Rows:
    """Questions to the database."""

    def __init__(self, log: sqlite3.Connection, place: str) -> None:
        self._log = log
        self._place = place

    def _rows(self, statement: str, *values: Any) -> Iterator[dict[str, Any]]:
        for row in self._log.execute(statement, values):
            yield dict(row)

    def _picture(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make a content part of an attachment; one that lies elsewhere, or is no picture, is named."""
        name = Path(text_of(row.get("path"))).name or text_of(row.get("url")).rpartition("/")[2]
        kind, data = text_of(row.get("type")), row.get("content")
        if (
            kind.startswith("image/")
            and isinstance(data, bytes)
            and len(data) <= _MAX_ATTACHMENT_BYTES
        ):
            return picture(f"data:{kind};base64,{base64.b64encode(data).decode()}", name)
        shown = name or text_of(row.get("id"))[:12] or "unnamed"
        return {"type": "text", "text": f"[{kind.partition('/')[0] or 'file'}: {shown}]"}


class _Responses(_Rows):
    """The older form: an answer with its question in a row."""

    def __init__(self, log: sqlite3.Connection, place: str, tables: set[str]) -> None:
        super().__init__(log, place)
        self._tables = tables

    def conversations(self) -> Iterator[Incoming]:
        """Yield each conversation; an answer that belongs to none is one."""
        found = self._rows(
            "SELECT r.conversation_id AS id, c.name AS name, c.model AS model, min(r.datetime_utc) AS began,"
            " max(r.datetime_utc) AS ended, min(r.id) AS first FROM responses r"
            " LEFT JOIN conversations c ON c.id = r.conversation_id"
            " GROUP BY coalesce(r.conversation_id, r.id) ORDER BY first"
        )
        for row in list(found):
            source_id = text_of(row["id"]) or text_of(row["first"])
            header = header_of(
                "llm",
                source_id,
                title=row["name"],
                created=row["began"],
                updated=row["ended"],
                model=row["model"],
            )
            where = "r.conversation_id = ?" if row["id"] else "r.id = ?"
            entries = Thread(moment(row["began"])).entries(
                self._entries(where, row["id"] or row["first"])
            )
            yield Incoming(f"{self._place}:{source_id}", header, entries)

    def _entries(self, where: str, value: str) -> Iterator[MessageEntry]:
        system = ""
        rows = self._rows(f"SELECT r.* FROM responses r WHERE {where} ORDER BY r.id", value)  # noqa: S608  # one of two
        for row in rows:
            place = f"{self._place}:{row['id']}"
            told = "\n\n".join(
                filter(
                    None, [*self._fragments("system_fragments", row["id"]), text_of(row["system"])]
                )
            )
            if told and told != system:
                system = told
                yield MessageEntry(
                    place,
                    message("system", told, id_=f"{row['id']}-system", at=row["datetime_utc"]),
                )
            for record in (*self._results(row), *self._question(row), self._answer(row)):
                yield MessageEntry(place, record)

    def _question(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        texts = [*self._fragments("prompt_fragments", row["id"]), text_of(row["prompt"])]
        parts = [{"type": "text", "text": text} for text in texts if text]
        attached = self._linked("prompt_attachments", "attachments", "attachment_id", row["id"])
        parts += map(self._picture, attached)
        if parts:
            yield message(
                "user", content_of(parts), id_=f"{row['id']}-prompt", at=row["datetime_utc"]
            )

    def _answer(self, row: dict[str, Any]) -> dict[str, Any]:
        calls = self._of_response("tool_calls", row["id"])
        usage = {key: row.get(key) for key in ("input_tokens", "output_tokens")}
        return message(
            "assistant",
            text_of(row["response"]),
            id_=row["id"],
            at=row["datetime_utc"],
            model=text_of(row.get("resolved_model")) or row["model"],
            thinking=text_of(row.get("reasoning")),
            tool_calls=[
                tool_call(c["tool_call_id"], c["name"], text_of(c["arguments"])) for c in calls
            ],
            usage={key: n for key, n in usage.items() if isinstance(n, int)},
        )

    def _results(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for number, found in enumerate(self._of_response("tool_results", row["id"])):
            failed = text_of(found.get("exception"))
            yield message(
                "tool", text_of(found["output"]) or failed, id_=f"{row['id']}-result-{number}", at=row["datetime_utc"],
                name=text_of(found["name"]), tool_call_id=text_of(found["tool_call_id"]),
                extra={"failed": True} if failed else None,
            )  # fmt: skip

    def _fragments(self, table: str, response_id: str) -> list[str]:
        return [
            text_of(found["content"])
            for found in self._linked(table, "fragments", "fragment_id", response_id)
        ]

    def _linked(self, link: str, table: str, key: str, response_id: str) -> list[dict[str, Any]]:
        if not {link, table} <= self._tables:
            return []
        statement = f'SELECT t.* FROM {link} l JOIN {table} t ON t.id = l.{key} WHERE l.response_id = ? ORDER BY l."order"'  # noqa: S608  # names of ours
        return list(self._rows(statement, response_id))

    def _of_response(self, table: str, response_id: str) -> list[dict[str, Any]]:
        if table not in self._tables:
            return []
        statement = f"SELECT * FROM {table} WHERE response_id = ? ORDER BY id"  # noqa: S608  # a name of ours
        return list(self._rows(statement, response_id))


class _Threads(_Rows):
    """The newer form: messages that name the one before them by its hash."""

    def conversations(self) -> Iterator[Incoming]:
        """Yield each thread."""
        for row in list(self._rows("SELECT * FROM threads ORDER BY id")):
            chain = self._chain(row["tip_message_hash"])
            turns = list(
                self._rows(
                    "SELECT * FROM turns WHERE thread_id = ? ORDER BY datetime_utc, id", row["id"]
                )
            )
            if not chain:
                continue
            began = turns[0]["datetime_utc"] if turns else row["datetime_utc"]
            header = header_of(
                "llm",
                text_of(row["id"]),
                title=row["name"],
                created=began,
                updated=turns[-1]["datetime_utc"] if turns else None,
                model=turns[-1]["model"] if turns else None,
                forked_from=row["forked_from"],
            )
            entries = Thread(moment(began)).entries(self._entries(chain, turns))
            yield Incoming(f"{self._place}:{row['id']}", header, entries)

    def _chain(self, tip: Any) -> list[str]:
        """Return the hashes from the first message to the newest; a circle is gone round once."""
        found: dict[str, None] = {}
        while isinstance(tip, str) and tip not in found:
            row = next(self._rows("SELECT parent_hash FROM messages WHERE hash = ?", tip), None)
            if row is None:
                break
            found[tip] = None
            tip = row["parent_hash"]
        return list(reversed(found))

    def _entries(self, chain: list[str], turns: list[dict[str, Any]]) -> Iterator[MessageEntry]:
        answered = {turn["tip_message_hash"]: turn for turn in turns}
        asked = {turn["parent_message_hash"]: turn for turn in turns}
        for key in chain:
            role = text_of(
                next(self._rows("SELECT role FROM messages WHERE hash = ?", key))["role"]
            )
            turn = answered.get(key) or asked.get(key) or {}
            for record in self._records(key, role, turn, ended=key in answered):
                yield MessageEntry(f"{self._place}:{key}", record)

    def _records(
        self, key: str, role: str, turn: dict[str, Any], *, ended: bool
    ) -> Iterator[dict[str, Any]]:
        parts = list(
            self._rows("SELECT * FROM parts WHERE message_hash = ? ORDER BY position", key)
        )
        at = turn.get("datetime_utc")
        said: list[dict[str, Any]] = []
        calls: list[dict[str, Any]] = []
        thinking: list[str] = []
        for part in parts:
            payload = _json(part["payload"])
            kind = text_of(part["type"])
            if kind == "tool_call":
                given = payload.get("arguments", {})
                calls.append(
                    tool_call(
                        payload.get("tool_call_id"), part["tool_name"] or payload.get("name"), given
                    )
                )
            elif kind == "tool_result":
                yield self._result(key, part, payload, at)
            elif kind == "reasoning":
                thinking.append(self._text(part, payload))
            elif kind == "attachment":
                said.append(self._attached(part))
            else:
                said.append({"type": "text", "text": self._text(part, payload)})
        content = content_of(said)
        if not (content or calls or thinking):
            return
        usage = (
            {name: turn.get(name) for name in ("input_tokens", "output_tokens")} if ended else {}
        )
        model = (
            (text_of(turn.get("resolved_model")) or text_of(turn.get("model")))
            if role == "assistant"
            else ""
        )
        yield message(
            role if role in ("system", "user", "assistant") else "user", content, id_=key, at=at, model=model,
            thinking="\n\n".join(filter(None, thinking)), tool_calls=calls,
            usage={name: n for name, n in usage.items() if isinstance(n, int)},
        )  # fmt: skip

    def _result(
        self, key: str, part: dict[str, Any], payload: dict[str, Any], at: Any
    ) -> dict[str, Any]:
        failed = text_of(payload.get("exception"))
        text = self._text(part, payload) or said_of(payload.get("output")) or failed
        return message(
            "tool", text, id_=f"{key}-{part['position']}", at=at, name=text_of(part["tool_name"]),
            tool_call_id=text_of(payload.get("tool_call_id")), extra={"failed": True} if failed else None,
        )  # fmt: skip

    def _text(self, part: dict[str, Any], payload: dict[str, Any]) -> str:
        """Return what a part says; long texts are put together from fragments, so that they are stored once."""
        if text := text_of(part["text"]):
            return text
        texts = []
        for piece in objects_of(payload.get("text_ref")):
            row = next(
                self._rows("SELECT content FROM fragments WHERE id = ?", piece.get("fragment")), {}
            )
            texts.append(text_of(piece.get("literal")) or text_of(row.get("content")))
        return "".join(texts) or text_of(payload.get("text"))

    def _attached(self, part: dict[str, Any]) -> dict[str, Any]:
        rows = self._rows(
            "SELECT a.* FROM part_attachments l JOIN attachments a ON a.id = l.attachment_id WHERE l.part_id = ?"
            ' ORDER BY l."order"',
            part["id"],
        )
        return self._picture(next(rows, {}))


def _json(text: Any) -> dict[str, Any]:
    try:
        return object_of(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
