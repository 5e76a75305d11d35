"""Golden inputs: a file of each tool, recorded from the tool where possible.

``codex``, ``claude-code`` and ``gemini`` were written by codex-cli 0.169.0 and 0.171.0, Claude Code 2.1.197 and gemini-cli
0.61.0 against a local server, the newer lines of ``gptme`` and ``pi`` by gptme 0.35.1 and pi 1.6.0, and `llm` logs by llm
0.27.1 and 0.36 (``llm-0.36`` is the log of 0.27.1, continued by 0.36); private data was removed and a few lines for rare
cases were added. The others follow descriptions.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden" / "in"

FORMAT_OF = {
    "chatgpt.json": "chatgpt",
    "claude.json": "claude",
    "sharegpt.json": "sharegpt",
    "openai.jsonl": "openai",
    "codex.jsonl": "codex",
    "codex-2025.jsonl": "codex",
    "claude-code.jsonl": "claude-code",
    "gemini.jsonl": "gemini",
    "gemini-2025.json": "gemini",
    "checkpoint-my%20tag.json": "gemini",
    "20251003T141530-oslo-trip.yaml": "aichat",
    "deepseek.json": "deepseek",
    "grok.json": "grok",
    "open-webui.json": "open-webui",
    "ai-studio.json": "ai-studio",
    "lm-studio.json": "lm-studio",
    "le-chat.json": "le-chat",
    "chatbox.json": "chatbox",
    "pi.jsonl": "pi",
    "qwen-code.jsonl": "qwen-code",
    "gptme.jsonl": "gptme",
    "hermes.jsonl": "hermes",
    "hermes.sql": "hermes",
    "goose.jsonl": "goose",
    "goose.sql": "goose",
    "opencode.json": "opencode",
    "opencode.sql": "opencode",
    "zed.sql": "zed",
    "cursor.sql": "cursor",
    "codex-exec.jsonl": "codex-exec",
    "claude-stream.jsonl": "claude-stream",
    "copilot-chat.json": "copilot-chat",
    "copilot-chat.jsonl": "copilot-chat",
    "copilot-cli.jsonl": "copilot-cli",
    "cline.json": "cline",
    "anthropic.json": "anthropic",
    "anthropic.jsonl": "anthropic",
    "librechat.json": "librechat",
    "sillytavern.jsonl": "sillytavern",
    "jan.jsonl": "jan",
    "typingmind.json": "typingmind",
    "typingmind-chats_part_1.json": "typingmind",
    "gemini-takeout.json": "gemini-takeout",
    "llm-0.27.sql": "llm",
    "llm-0.36.sql": "llm",
    "llm-0.36-new.sql": "llm",
}


def placed(name: str, directory: Path) -> Path:
    """Copy a golden input into a directory and return its path; a dump becomes a database."""
    data = (GOLDEN / name).read_bytes()
    if not name.endswith(".sql"):
        path = directory / name
        path.write_bytes(data)
        return path
    path = directory / name.replace(".sql", ".db")
    with sqlite3.connect(path) as log:
        log.executescript(data.decode())
    log.close()
    return path
