"""Readers of other tools' conversations, one module and one row each."""

from __future__ import annotations

from omniagent_cli.formats.format_row import Format

READERS = (
    Format(
        "chatgpt",
        "omniagent_cli.formats.readers.chatgpt:ChatGpt",
        "conversations.json of a ChatGPT account export, also zipped",
        (".json",),
        can_export=False,
        key_sets=({"mapping", "id"}, {"mapping", "title"}, {"mapping", "current_node"}),
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
        key_sets=(
            {"sessionId", "parentUuid"},
            {"leafUuid", "type=summary"},
            {"type=file-history-snapshot", "snapshot"},
            {"type=queue-operation", "sessionId"},
        ),
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
)
"""Formats that can only be imported."""
