"""``claude-code``: transcripts of Claude Code, ``~/.claude/projects/DIRECTORY/SESSION.jsonl``.

One line per message, a tree by ``uuid`` and ``parentUuid``: an edited or undone message starts another branch. The
format is not published and changes between versions; this follows readers of versions 1 and 2. Other lines, side
conversations of sub-agents and internal messages are skipped.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.json_helpers import feed_lines, line_objects
from omniagent_cli.formats.readers.content_blocks import block_media, block_result, content_blocks
from omniagent_cli.formats.readers.message_sequence import ANSWER_KEY
from omniagent_cli.formats.readers.message_tree import MessageTree, session_threads
from omniagent_cli.formats.readers.records import (
    LEFT_OUT_KEY,
    left_out,
    merge_parts,
    message,
    object_of,
    session_header,
    text_of,
    tool_call,
    usage_of,
)
from omniagent_cli.formats.types import MessageEntry, Omission, Problem, ReaderItem
from omniagent_cli.json_format import dump

_INJECTED = re.compile(
    r"\s*<(command-name|command-message|command-args|local-command-std\w+|local-command-caveat|system-reminder|bash-\w+)>"
)
"""Start of a user message that the program wrote."""

_COMMAND = re.compile(
    r"(?=[\s\S]*<command-name>/?([^<]*)</command-name>)(?:[\s\S]*<command-args>([\s\S]*)</command-args>)?"
)
"""Slash command: name and arguments, in either order."""

_LOCAL_COMMANDS = frozenset(
    """
    add-dir agents bashes bug clear compact config context copy cost doctor exit export fast feedback help hooks ide
    install-github-app keybindings login logout mcp memory model output-style permissions plan plugin privacy-settings
    quit release-notes remote-control rename resume rewind sandbox skills stats status statusline stickers tasks
    terminal-setup theme todos upgrade usage vim
    """.split()  # noqa: SIM905  # one word per line would not be more readable
)
"""Slash commands of the program itself; without arguments they are not sent to the model."""

_EDITOR_CONTEXT = re.compile(r"<(ide_\w+)>[\s\S]*?</\1>\s*")
"""Text that the editor extension adds."""

_INTERRUPTION = re.compile(r"\s*\[Request interrupted by user[^\]]*\]\s*")
_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>\s*", re.DOTALL)
_USAGE = {"input_tokens": "input_tokens", "output_tokens": "output_tokens", "cache_read_input_tokens": "cache_read_tokens",
          "cache_creation_input_tokens": "cache_write_tokens"}  # fmt: skip


_MAX_PIECES = 10_000
"""Length limit of the list of an answer's lines, in characters."""


class ClaudeCode:
    """Reader of one session per file."""

    format_name = "claude-code"

    def __init__(self, *, branches: bool = False) -> None:
        self._branches = branches

    def read(self, source: ByteSource) -> Iterator[ReaderItem]:
        """Yield the thread that was continued last, and the others if branches are imported."""
        numbers = _Transcript()
        with numbers.tree:
            yield from feed_lines(self._lines(source), numbers.add_line)
            yield from self._threads(numbers, source)

    def _lines(self, source: ByteSource) -> Iterator[MessageEntry | Problem]:
        return line_objects(source)

    def _threads(self, numbers: _Transcript, source: ByteSource) -> Iterator[ReaderItem]:
        source_id = numbers.session_id or Path(source.name).name.removesuffix(".jsonl")

        def header(branch: str) -> dict[str, Any]:
            return session_header(
                self.format_name,
                source_id,
                title=numbers.title,
                created=numbers.first_at,
                updated=numbers.last_at,
                model=numbers.model,
                branch=branch,
                cwd=numbers.cwd,
                git_branch=numbers.git_branch,
            )

        if numbers.subagent_lines:
            yield Omission("sub-agent message", numbers.subagent_lines)
        yield from session_threads(
            numbers.tree, numbers.tree.newest_leaf(), source.name, header, branches=self._branches, complete=numbers.complete,
        )  # fmt: skip


class ClaudeStream(ClaudeCode):
    """Reader of the saved output of ``claude -p --output-format stream-json``: the same messages with other keys."""

    format_name = "claude-stream"

    def _lines(self, source: ByteSource) -> Iterator[MessageEntry | Problem]:
        for number, entry in enumerate(line_objects(source)):
            if isinstance(entry, MessageEntry):
                line = dict(entry.record)
                line["sessionId"] = line.get("session_id")
                line["isSidechain"] = line.get("parent_tool_use_id") is not None
                line["uuid"] = text_of(line.get("uuid")) or f"line-{number}"
                line.setdefault("isMeta", line.get("isSynthetic") is True)
                yield entry._replace(record=line)
            else:
                yield entry


class _Transcript:
    """Builder of a session from the lines of a file."""

    def __init__(self) -> None:
        self.tree = MessageTree()
        self.session_id = self.cwd = self.git_branch = self.model = ""
        self.first_at: Any = None
        self.last_at: Any = None
        self.subagent_lines = 0
        self._turn = 0
        self._previous: str | None = None
        self._has_parents = False
        self._titles: dict[str, str] = {}
        self._summaries: dict[str, str] = {}

    @property
    def title(self) -> str:
        """Title set by the user, else by the model, else the newest summary of this session's messages."""
        given = self._titles.get("custom-title") or self._titles.get("ai-title")
        own = (raw for leaf, raw in reversed(self._summaries.items()) if leaf in self.tree)
        return given or next(own, "")

    def complete(self, thread: array[int]) -> array[int]:
        """Add to a thread the other lines of its answers and the results of its tool calls.

        An answer with several tool calls has one line per call, and each result names the line of its call, so the path
        from the newest message to the root contains only one of them.
        """
        numbers, is_added = array("q"), bytearray(len(self.tree) + 1)
        for number in thread:
            if is_added[number]:
                continue
            answer = self.tree.get_note("answer", f"{number}")
            pieces = self.tree.get_note("pieces", answer).split() if answer else []
            calls = [
                call for piece in pieces for call in self.tree.get_note("calls", piece).split()
            ]
            results = [result for call in calls if (result := self.tree.get_note("result", call))]
            for one in map(int, [*(pieces or [f"{number}"]), *results]):
                if not is_added[one]:
                    is_added[one] = 1
                    numbers.append(one)
        return numbers

    def add_line(self, entry: MessageEntry) -> None:
        """Add a line."""
        line = entry.record
        kind = text_of(line.get("type"))
        if kind in ("ai-title", "custom-title"):
            raw = [text_of(line.get(key)) for key in ("customTitle", "aiTitle", "title")]
            self._titles[kind] = next(filter(None, raw), "")
            return
        if kind == "summary":
            self._summaries[text_of(line.get("leafUuid"))] = text_of(line.get("summary"))
            return
        node_id = text_of(line.get("uuid"))
        if line.get("isSidechain") is True:
            self.subagent_lines += kind in ("user", "assistant")
            return
        if not node_id:
            return
        self._read_metadata(line)
        records = self._records(line, kind, node_id)
        self.tree.add(node_id, self._parent(line), entry.location, records)
        self._previous = node_id
        for record in records:
            if LEFT_OUT_KEY not in record:
                self._turn += record["role"] == "user"
                self._index_line(node_id, record)

    def _parent(self, line: dict[str, Any]) -> str | None:
        """Return the parent of a line; where none is named, the previous line of a compacted or flat transcript."""
        named = text_of(line.get("parentUuid"))
        self._has_parents |= bool(named)
        if parent := named or text_of(line.get("logicalParentUuid")):
            return parent
        compacted = (
            line.get("subtype") == "compact_boundary" or line.get("isCompactSummary") is True
        )
        return self._previous if compacted or not self._has_parents else None

    def _index_line(self, node_id: str, record: dict[str, Any]) -> None:
        """Index the answer a line belongs to, the tools it calls, and the call whose result it is."""
        number = f"{self.tree.number_of(node_id)}"
        if answer := record.get(ANSWER_KEY):
            before = self.tree.get_note("pieces", answer)
            if len(before) < _MAX_PIECES:
                self.tree.set_note("answer", number, answer)
                self.tree.set_note("pieces", answer, f"{before} {number}")
        if calls := record.get("tool_calls"):
            self.tree.set_note("calls", number, " ".join(dump(call["id"]).hex() for call in calls))
        if record["role"] == "tool":
            call = dump(record.get("tool_call_id", "")).hex()
            if not self.tree.get_note("result", call):
                self.tree.set_note("result", call, number)

    def _read_metadata(self, line: dict[str, Any]) -> None:
        # A resumed session may begin with the unchanged lines of the previous one.
        self.session_id = text_of(line.get("sessionId")) or self.session_id
        self.cwd = self.cwd or text_of(line.get("cwd"))
        self.git_branch = self.git_branch or text_of(line.get("gitBranch"))
        self.first_at = self.first_at or line.get("timestamp")
        self.last_at = line.get("timestamp") or self.last_at

    def _records(self, line: dict[str, Any], kind: str, node_id: str) -> list[dict[str, Any]]:
        records = line_records(line, kind, node_id)
        if kind != "assistant" or not records or LEFT_OUT_KEY in records[0]:
            return records
        self.model = records[0].get("model") or self.model
        # A proxy may give all of its answers the same id.
        answer = text_of(object_of(line.get("message")).get("id"))
        return [records[0] | {ANSWER_KEY: answer and f"{answer} {self._turn}"}]


def line_records(line: dict[str, Any], kind: str, node_id: str) -> list[dict[str, Any]]:
    """Return the message records of a line: tool results and a message of the user, or a piece of an answer.

    Args:
        line: the line.
        kind: its ``type``.
        node_id: its ``uuid``, from which the ids of the messages are derived.
    """
    at = line.get("timestamp")
    if kind == "attachment":
        return _queued_prompt(object_of(line.get("attachment")), node_id, at)
    if kind not in ("user", "assistant"):
        return []
    if line.get("isMeta") is True or line.get("isCompactSummary") is True:
        return [left_out("program message")]
    raw = object_of(line.get("message"))
    if kind == "user":
        return list(_user_records(raw, node_id, at)) or [left_out("program message")]
    return _assistant_records(raw, node_id, at, failed=line.get("isApiErrorMessage") is True)


def _assistant_records(
    raw: dict[str, Any], node_id: str, at: Any, *, failed: bool
) -> list[dict[str, Any]]:
    name = text_of(raw.get("model"))
    is_synthetic = name == "<synthetic>"
    if is_synthetic and not failed:
        return []
    model = f"anthropic:{name}" if name and not is_synthetic else ""
    texts, thinking, calls = [], [], []
    for block in content_blocks(raw):
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
        "assistant", text, id_=node_id, at=at, model=model, thinking=thought, tool_calls=calls, usage=usage_of(object_of(raw.get("usage")), _USAGE),
        status="failed" if failed else "",
    )  # fmt: skip
    return [record]


def _user_records(raw: dict[str, Any], node_id: str, at: Any) -> Iterator[dict[str, Any]]:
    """Yield the tool results, then the user's message."""
    blocks = content_blocks(raw)
    parts: list[dict[str, Any]] = []
    for number, block in enumerate(blocks):
        kind = block.get("type")
        if kind == "tool_result":
            id_ = f"{node_id}-{number}" if number else node_id
            yield block_result(block, id_, at)
        elif kind == "text":
            if text := _typed_text(text_of(block.get("text"))):
                parts.append({"type": "text", "text": text})
        elif kind in ("image", "document"):
            parts.append(block_media(block))
    if parts:
        yield message(
            "user",
            merge_parts(parts),
            id_=node_id if len(parts) == len(blocks) else f"{node_id}-said",
            at=at,
        )


def _typed_text(text: str) -> str:
    """Return the text typed by the user, without the text that the program and the editor add."""
    text = _EDITOR_CONTEXT.sub("", _REMINDER.sub("", text))
    if _INJECTED.match(text) and (command := _COMMAND.match(text)):
        name, arguments = command.group(1).strip(), (command.group(2) or "").strip()
        is_local = name in _LOCAL_COMMANDS and not arguments
        return "" if is_local else f"/{name} {arguments}".strip()
    if not text.strip() or _INJECTED.match(text) or _INTERRUPTION.fullmatch(text):
        return ""
    return text


def _queued_prompt(attachment: dict[str, Any], node_id: str, at: Any) -> list[dict[str, Any]]:
    """Return a message typed while the model worked; no user line repeats it."""
    if attachment.get("type") != "queued_command" or attachment.get("commandMode") != "prompt":
        return []
    prompt = attachment.get("prompt")
    return list(_user_records({"content": prompt}, node_id, at)) if prompt else []
