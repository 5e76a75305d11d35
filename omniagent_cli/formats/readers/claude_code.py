"""``claude-code``: transcripts of Claude Code, ``~/.claude/projects/DIRECTORY/SESSION.jsonl``.

A line for each message, a tree by ``uuid`` and ``parentUuid``: what was edited, or undone, is another branch. The file
belongs to no published format and changes with the program; this follows what readers of versions 1 and 2 expect.
Lines that are no messages, side conversations of sub-agents and what the program says to itself are passed over.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.formats.byte_source import Source
from omniagent_cli.formats.json_helpers import objects_by_line
from omniagent_cli.formats.readers.message_sequence import ANSWER
from omniagent_cli.formats.readers.message_tree import Tree, threads
from omniagent_cli.formats.readers.records import (
    content_of,
    header_of,
    message,
    object_of,
    objects_of,
    picture,
    said_of,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import Incoming, MessageEntry, Problem, problem
from omniagent_cli.json_format import dump

_MACHINE = re.compile(
    r"\s*<(command-name|command-message|command-args|local-command-std\w+|local-command-caveat|system-reminder|bash-\w+)>"
)
"""How a text begins that the program wrote in the person's name."""

_SAID_FOR_THEM = re.compile(r"\s*\[Request interrupted by user[^\]]*\]\s*")
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_USAGE = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "cache_read_input_tokens": "cache_read_tokens",
          "cache_creation_input_tokens": "cache_write_tokens"}  # fmt: skip


_MAX_PIECES = 10_000
"""Characters of the list of an answer's lines; more are no answer of anybody."""


class ClaudeCode:
    """Reads one session a file."""

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: Source) -> Iterator[Incoming | Problem]:
        """Yield the thread that was gone on with last, and the others if they are wanted."""
        found = _Transcript()
        with found.tree:
            for entry in objects_by_line(source):
                if isinstance(entry, Problem):
                    yield entry
                    continue
                try:
                    found.take(entry)
                except InvalidRecord as error:
                    yield problem(entry.place, error)
            yield from self._threads(found, source)

    def _threads(self, found: _Transcript, source: Source) -> Iterator[Incoming | Problem]:
        source_id = found.session_id or Path(source.name).name.removesuffix(".jsonl")

        def header(branch: str) -> dict[str, Any]:
            return header_of(
                "claude-code",
                source_id,
                title=found.title,
                created=found.first_at,
                updated=found.last_at,
                model=found.model,
                branch=branch,
                cwd=found.cwd,
                git_branch=found.git_branch,
            )

        yield from threads(
            found.tree, found.tree.newest_leaf(), source.name, header, branches=self._branches, whole=found.whole,
        )  # fmt: skip


class _Transcript:
    """The lines of a file, put together."""

    def __init__(self) -> None:
        self.tree = Tree()
        self.session_id = self.cwd = self.git_branch = self.model = ""
        self.first_at: Any = None
        self.last_at: Any = None
        self._titles: dict[str, str] = {}
        self._summaries: dict[str, str] = {}

    @property
    def title(self) -> str:
        """The name: given by the person, else by the model, else of the newest summary of this session's messages."""
        given = self._titles.get("custom-title") or self._titles.get("ai-title")
        own = (said for leaf, said in reversed(self._summaries.items()) if leaf in self.tree)
        return given or next(own, "")

    def whole(self, thread: array[int]) -> array[int]:
        """Add to a thread the other pieces of its answers, and what came of its tool calls.

        An answer that calls several tools is a line for each call, and each result names the line of its call:
        the way from the newest message to the root goes through one of them only.
        """
        found, passed = array("q"), bytearray(len(self.tree) + 1)
        for number in thread:
            if passed[number]:
                continue
            answer = self.tree.noted("answer", f"{number}")
            pieces = self.tree.noted("pieces", answer).split() if answer else []
            calls = [call for piece in pieces for call in self.tree.noted("calls", piece).split()]
            results = [result for call in calls if (result := self.tree.noted("result", call))]
            for one in map(int, [*(pieces or [f"{number}"]), *results]):
                if not passed[one]:
                    passed[one] = 1
                    found.append(one)
        return found

    def take(self, entry: MessageEntry) -> None:
        """Take in a line."""
        line = entry.record
        kind = text_of(line.get("type"))
        if kind in ("ai-title", "custom-title"):
            said = [text_of(line.get(key)) for key in ("customTitle", "aiTitle", "title")]
            self._titles[kind] = next(filter(None, said), "")
            return
        if kind == "summary":
            self._summaries[text_of(line.get("leafUuid"))] = text_of(line.get("summary"))
            return
        node_id = text_of(line.get("uuid"))
        if not node_id or line.get("isSidechain") is True:
            return
        self._learn(line)
        parent = text_of(line.get("parentUuid")) or text_of(line.get("logicalParentUuid")) or None
        records = self._records(line, kind, node_id) if kind in ("user", "assistant") else []
        self.tree.add(node_id, parent, entry.place, records)
        for record in records:
            self._link(node_id, record)

    def _link(self, node_id: str, record: dict[str, Any]) -> None:
        """Note of which answer a line is a piece, which tools it calls, and of which call it is the result."""
        number = f"{self.tree.number_of(node_id)}"
        if answer := record.get(ANSWER):
            before = self.tree.noted("pieces", answer)
            if len(before) < _MAX_PIECES:
                self.tree.note("answer", number, answer)
                self.tree.note("pieces", answer, f"{before} {number}")
        if calls := record.get("tool_calls"):
            self.tree.note("calls", number, " ".join(dump(call["id"]).hex() for call in calls))
        if record["role"] == "tool":
            call = dump(record.get("tool_call_id", "")).hex()
            if not self.tree.noted("result", call):
                self.tree.note("result", call, number)

    def _learn(self, line: dict[str, Any]) -> None:
        # A session that was gone on with may begin with the lines of the one before, as they were.
        self.session_id = text_of(line.get("sessionId")) or self.session_id
        self.cwd = self.cwd or text_of(line.get("cwd"))
        self.git_branch = self.git_branch or text_of(line.get("gitBranch"))
        self.first_at = self.first_at or line.get("timestamp")
        self.last_at = line.get("timestamp") or self.last_at

    def _records(self, line: dict[str, Any], kind: str, node_id: str) -> list[dict[str, Any]]:
        if line.get("isMeta") is True or line.get("isCompactSummary") is True:
            return []
        said = object_of(line.get("message"))
        at = line.get("timestamp")
        if kind == "user":
            return list(_user_records(said, node_id, at))
        return self._answer(said, node_id, at, failed=line.get("isApiErrorMessage") is True)

    def _answer(
        self, said: dict[str, Any], node_id: str, at: Any, *, failed: bool
    ) -> list[dict[str, Any]]:
        name = text_of(said.get("model"))
        by_program = name == "<synthetic>"
        if by_program and not failed:
            return []
        model = f"anthropic:{name}" if name and not by_program else ""
        self.model = model or self.model
        texts, thinking, calls = [], [], []
        for block in _blocks(said):
            kind = block.get("type")
            if kind == "text":
                texts.append(text_of(block.get("text")))
            elif kind == "thinking":
                thinking.append(text_of(block.get("thinking")))
            elif kind in ("tool_use", "server_tool_use"):
                calls.append(
                    tool_call(block.get("id"), block.get("name"), object_of(block.get("input")))
                )
        text, thought = "\n\n".join(filter(None, texts)), "\n\n".join(filter(None, thinking))
        if not (text or thought or calls):
            return []
        record = message(
            "assistant", text, id_=node_id, at=at, model=model, thinking=thought, tool_calls=calls, usage=usage_of(object_of(said.get("usage")), _USAGE),
            status="failed" if failed else "",
        )  # fmt: skip
        return [record | {ANSWER: text_of(said.get("id"))}]


def _user_records(said: dict[str, Any], node_id: str, at: Any) -> Iterator[dict[str, Any]]:
    """Yield what tools gave back, then what the person said."""
    blocks = _blocks(said)
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        kind = block.get("type")
        if kind == "tool_result":
            id_ = f"{node_id}-{number}" if number else node_id
            yield _result(block, id_, at)
        elif kind == "text":
            text = _REMINDER.sub("", text_of(block.get("text")))
            if text.strip() and not (_MACHINE.match(text) or _SAID_FOR_THEM.fullmatch(text)):
                parts.append({"type": "text", "text": text})
        elif kind in ("image", "document"):
            parts.append(_media(block))
    if parts:
        yield message(
            "user",
            content_of(parts),
            id_=node_id if len(parts) == len(blocks) else f"{node_id}-said",
            at=at,
        )


def _blocks(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the content of a message as blocks."""
    content = said.get("content")
    return [{"type": "text", "text": content}] if isinstance(content, str) else objects_of(content)


def _media(block: dict[str, Any]) -> dict[str, Any]:
    source = object_of(block.get("source"))
    data, media_type = text_of(source.get("data")), text_of(source.get("media_type"))
    if block.get("type") == "image" and data and media_type:
        return picture(f"data:{media_type};base64,{data}")
    return {
        "type": "text",
        "text": f"[{block.get('type')}: {text_of(block.get('title')) or media_type or 'unnamed'}]",
    }


def _result(block: dict[str, Any], id_: str, at: Any) -> dict[str, Any]:
    content = block.get("content")
    if isinstance(content, list):
        parts = [
            text_of(part.get("text")) or f"[{part.get('type')}]" for part in objects_of(content)
        ]
        content = "\n".join(parts)
    return message(
        "tool",
        said_of(content),
        id_=id_,
        at=at,
        tool_call_id=text_of(block.get("tool_use_id")),
        failed=block.get("is_error") is True,
    )
