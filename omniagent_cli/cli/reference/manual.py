"""The manual: Markdown pages that `omniagent help TOPIC` shows and the man page contains."""

from __future__ import annotations

import re
from pathlib import Path

from omniagent_cli.cli.framework.context import Context

PAGES_DIRECTORY = Path(__file__).parents[2] / "manual"

PAGES = {
    "chat": "the chat and its slash commands",
    "scripting": "ask, attachments, structured output, pipes and exit codes",
    "sessions": "list, change and remove sessions",
    "formats": "export and import",
    "context": "what is sent of long sessions; compaction, cost, titles, rollover",
    "stores": "where sessions are kept; check, backup, migration",
    "sync": "bring the stores of several machines to the same content",
    "file-format": "the files of a file store, line by line",
    "encryption": "encrypt a store and change its key",
    "configuration": "settings and their sources",
    "models": "choose a model; keys, options, providers",
    "tools": "tools, approval and MCP servers",
    "saved-prompts": "prompts with variables, and skill folders",
    "editors": "omniagent as the agent of your editor",
    "install": "installation, shell completion, upgrade, uninstall",
    "library": "omniagent from Python",
    "adapters": "the sessions of other agent libraries in a store",
    "backends": "write a storage backend",
    "promises": "what is promised, and the tests that show it",
    "performance": "measured figures, and how to repeat them",
    "names": "names in related projects and here",
}
"""The topic and subject of each page, in reading order."""


def page_text(topic: str) -> str:
    """Return the Markdown of a page, without comments.

    Raises:
        KeyError: there is no such page.
    """
    if topic not in PAGES:
        raise KeyError(topic)
    text = (PAGES_DIRECTORY / f"{topic}.md").read_text(encoding="utf-8")
    return re.sub(r"<!--.*?-->\n*", "", text, flags=re.DOTALL)


def show_page(context: Context, topic: str) -> None:
    """Print a page: rendered in a pager on a terminal, as Markdown in a pipe."""
    terminal, text = context.terminal, page_text(topic)
    if not terminal.is_terminal:
        terminal.line(text.rstrip("\n"))
        return
    with terminal.paged() as out:
        out.line(terminal.markdown(text))
