"""Table of formats.

To add a format, write one module with a class that implements `types.Exporter`, `types.Importer` or both,
add one row here (for a reader of another tool: to `readers.READERS`), and add a golden file to the tests.
"""

from __future__ import annotations

from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.formats.format_row import Format
from omniagent_cli.formats.readers import READERS

__all__ = [
    "EXPORTED",
    "FORMATS",
    "Format",
    "exported_formats",
    "imported_formats",
    "open_exporter",
    "open_importer",
]


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
            key_sets=(
                {"messages/role"},
                {"role", "content"},
                {"input/messages", "preferred_output"},
            ),
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
        *READERS,
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


def exported_formats() -> list[str]:
    """Return the names of the formats that can be exported."""
    return [row.name for row in FORMATS.values() if row.can_export]


def imported_formats() -> list[str]:
    """Return the names of the formats that can be imported."""
    return [row.name for row in FORMATS.values() if row.can_import]


EXPORTED = ", ".join(exported_formats())
"""The same names for help texts."""


def open_exporter(name: str, *, front_matter: bool = False) -> Any:
    """Return the `types.Exporter` of a format.

    Args:
        name: a key of `FORMATS`.
        front_matter: write a YAML header before each session.

    Raises:
        UsageError: the format is unknown, can only be imported, or has no front matter.
    """
    row = _format_row(name, "exported", exported_formats())
    if front_matter and not row.has_front_matter:
        names = ", ".join(row.name for row in FORMATS.values() if row.has_front_matter)
        raise UsageError(f"{name} does not support front matter; use {names}")
    return row.load_writer(front_matter=True) if front_matter else row.load_writer()


def open_importer(name: str, *, branches: bool = False) -> Any:
    """Return the `types.Importer` of a format.

    Args:
        name: a key of `FORMATS`.
        branches: also yield edited and regenerated messages, as sessions of their own.

    Raises:
        UsageError: the format is unknown or can only be exported.
    """
    row = _format_row(name, "imported", imported_formats())
    return row.load(branches=True) if branches and row.has_branches else row.load()


def _format_row(name: str, action: str, names: list[str]) -> Format:
    if name in names:
        return FORMATS[name]
    what = f"{name} cannot be {action}" if name in FORMATS else f"unknown format {name!r}"
    raise UsageError(f"{what}; choose one of {', '.join(names)}")
