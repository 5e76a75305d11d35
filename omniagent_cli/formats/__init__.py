"""Table of formats, and detection of the format of a file.

To add a format, write one module with a class that implements `types.Exporter`, `types.Importer` or both,
add one row here, and add a golden file to the tests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.formats.detection import key_paths
from omniagent_cli.models import SESSION_FORMAT

__all__ = ["EXPORTED", "FORMATS", "Format", "open_exporter", "open_importer", "recognise"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format: name, class and capabilities.

    Attributes:
        target: ``module:Class``, imported on first use.
        suffixes: file name suffixes, the usual one first.
        key_sets: a JSON file is in this format when its `key_paths` include all of one of these sets; the first
            matching row of the table wins.
        pattern: regular expression for the first bytes of a file that is not JSON.
        has_branches: edited and regenerated messages can be imported too; the class takes ``branches=True``.
        has_front_matter: each session can start with a YAML header; the class takes ``front_matter=True``.
    """

    name: str
    target: str
    help: str
    suffixes: tuple[str, ...]
    can_export: bool = True
    can_import: bool = True
    key_sets: tuple[set[str], ...] = ()
    pattern: bytes = b""
    has_branches: bool = False
    has_front_matter: bool = False

    def load(self, **options: Any) -> Any:
        """Import the class and return an instance."""
        module, _, name = self.target.partition(":")
        return getattr(import_module(module), name)(**options)


FORMATS: dict[str, Format] = {
    row.name: row
    for row in (
        Format(
            "jsonl",
            "omniagent_cli.formats.interchange.jsonl:JsonLines",
            "one line per session header and message; lossless",
            (".jsonl",),
        ),
        Format(
            "json",
            "omniagent_cli.formats.interchange.json:JsonDocument",
            "one document; lossless",
            (".json",),
        ),
        Format(
            "openai",
            "omniagent_cli.formats.interchange.openai:ChatCompletions",
            "Chat Completions messages, one conversation per line (for fine-tuning)",
            (".jsonl", ".json"),
        ),
        Format(
            "sharegpt",
            "omniagent_cli.formats.interchange.sharegpt:ShareGpt",
            "conversations of training sets, with from and value",
            (".json", ".jsonl"),
            key_sets=(
                {"conversations/from"},
                {"conversation/from"},
                {"messages/from"},
                {"conversations/role"},
                {"conversation/role"},
            ),
        ),
        Format(
            "chatgpt",
            "omniagent_cli.formats.readers.chatgpt:ChatGpt",
            "conversations.json of a ChatGPT account export, also zipped",
            (".json",),
            can_export=False,
            key_sets=({"mapping"},),
            has_branches=True,
        ),
        Format(
            "claude",
            "omniagent_cli.formats.readers.claude:Claude",
            "conversations.json of a Claude.ai account export, also zipped",
            (".json",),
            can_export=False,
            key_sets=({"chat_messages"},),
            has_branches=True,
        ),
        Format(
            "codex",
            "omniagent_cli.formats.readers.codex:Codex",
            "sessions of the Codex command line (~/.codex/sessions), also compressed",
            (".jsonl", ".jsonl.zst"),
            can_export=False,
            key_sets=(
                {"type=session_meta", "payload"},
                {"type=response_item", "payload"},
                {"type=turn_context", "payload"},
                {"type=event_msg", "payload"},
                {"id", "timestamp", "instructions"},
            ),
            has_branches=True,
        ),
        Format(
            "claude-code",
            "omniagent_cli.formats.readers.claude_code:ClaudeCode",
            "transcripts of Claude Code (~/.claude/projects)",
            (".jsonl",),
            can_export=False,
            key_sets=({"sessionId", "parentUuid"}, {"leafUuid"}),
            has_branches=True,
        ),
        Format(
            "gemini",
            "omniagent_cli.formats.readers.gemini:Gemini",
            "chats of the Gemini command line (~/.gemini/tmp), also saved chats",
            (".jsonl", ".json"),
            can_export=False,
            key_sets=(
                {"sessionId", "projectHash"},
                {"sessionId", "startTime"},
                {"history/parts"},
                {"history", "authType"},
                {"role", "parts"},
            ),
            has_branches=True,
        ),
        Format(
            "llm",
            "omniagent_cli.formats.readers.llm:Llm",
            "logs.db of the llm command line",
            (".db",),
            can_export=False,
            pattern=rb"\ASQLite format 3\0",
        ),
        Format(
            "aichat",
            "omniagent_cli.formats.readers.aichat:Aichat",
            "sessions of the aichat command line",
            (".yaml", ".yml"),
            can_export=False,
            pattern=rb"(?m)\A(?:---|#.*|\s)*+(?=\w+:)(?=[\s\S]*?^model:)(?=[\s\S]*?^(?:compressed_)?messages:)",
        ),
        Format(
            "markdown",
            "omniagent_cli.formats.writers.markdown:Markdown",
            "readable, with headings and code blocks",
            (".md",),
            can_import=False,
            has_front_matter=True,
        ),
        Format(
            "html",
            "omniagent_cli.formats.writers.html:Html",
            "one self-contained page for a browser",
            (".html", ".htm"),
            can_import=False,
        ),
        Format(
            "text",
            "omniagent_cli.formats.writers.text:PlainText",
            "readable, without markup",
            (".txt",),
            can_import=False,
        ),
        Format(
            "csv",
            "omniagent_cli.formats.writers.csv:Csv",
            "one row per message, for spreadsheets",
            (".csv",),
            can_import=False,
        ),
    )
}


EXPORTED = ", ".join(row.name for row in FORMATS.values() if row.can_export)
"""Names of the formats that can be exported, for help texts."""


def open_exporter(name: str, *, front_matter: bool = False) -> Any:
    """Return the `types.Exporter` of a format.

    Args:
        name: a key of `FORMATS`.
        front_matter: write a YAML header before each session.

    Raises:
        UsageError: the format is unknown, can only be imported, or has no front matter.
    """
    row = _format_row(name, "exported", [row.name for row in FORMATS.values() if row.can_export])
    if front_matter and not row.has_front_matter:
        names = ", ".join(row.name for row in FORMATS.values() if row.has_front_matter)
        raise UsageError(f"{name} does not support front matter; use {names}")
    return row.load(front_matter=True) if front_matter else row.load()


def open_importer(name: str, *, branches: bool = False) -> Any:
    """Return the `types.Importer` of a format.

    Args:
        name: a key of `FORMATS`.
        branches: also yield edited and regenerated messages, as sessions of their own.

    Raises:
        UsageError: the format is unknown or can only be exported.
    """
    row = _format_row(name, "imported", [row.name for row in FORMATS.values() if row.can_import])
    return row.load(branches=True) if branches and row.has_branches else row.load()


def _format_row(name: str, action: str, names: list[str]) -> Format:
    if name in names:
        return FORMATS[name]
    what = f"{name} cannot be {action}" if name in FORMATS else f"unknown format {name!r}"
    raise UsageError(f"{what}; choose one of {', '.join(names)}")


_NATIVE = re.compile(rb'"format"\s*:\s*"omniagent-(?:session|export)"')


def detect_format(head: bytes, name: str = "") -> str:
    """Return the format of a file by its first bytes; empty when no importer recognizes it.

    Args:
        head: the first bytes, the more the better.
        name: the file name; used only when the content is ambiguous.
    """
    start = head.lstrip()
    if start[:1] not in (b"{", b"["):
        for row in FORMATS.values():
            if row.pattern and re.match(row.pattern, head):
                return row.name
        # The first record may be damaged.
        return "jsonl" if _NATIVE.search(head) and b"\n" in start else ""
    paths = key_paths(start)
    if ours := _native_format(paths, start):
        return ours
    for row in FORMATS.values():
        if any(key_sets <= paths for key_sets in row.key_sets):
            return row.name
    if "messages" in paths or "preferred_output" in paths:
        return "openai"
    if start[:1] == b"[":
        return "openai" if "role" in paths or not start[1:].strip(b" \r\n]") else ""
    return "jsonl" if _NATIVE.search(head) or name.endswith(".jsonl") else ""


def _native_format(paths: frozenset[str], start: bytes) -> str:
    """Return ``jsonl`` or ``json`` for a file written by omniagent; empty for any other."""
    if f"format={SESSION_FORMAT}" in paths:
        first, _, _ = start.partition(b"\n")
        line = key_paths(first)
        return (
            "jsonl" if start[:1] == b"{" and "format" in line and "messages" not in line else "json"
        )
    return (
        "json" if {"format=omniagent-export", f"sessions/format={SESSION_FORMAT}"} & paths else ""
    )
