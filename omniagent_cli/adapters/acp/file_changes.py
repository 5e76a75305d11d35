"""Files in the arguments of tool calls, which editors open and show as changes.

The arguments are those of the servers and editors that edit files: the reference MCP server for file systems
(``path``, ``edits`` with ``oldText`` and ``newText``), and tools that replace text (``file_path``, ``old_string`` or
``old_str``, ``new_string`` or ``new_str``). The protocol accepts absolute paths only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from urllib.parse import unquote, urlsplit

from acp import schema
from acp.helpers import tool_diff_content

_PATHS = ("path", "file_path", "uri", "source", "destination")
_OLD = ("oldText", "old_text", "old_string", "old_str")
_NEW = ("newText", "new_text", "new_string", "new_str")


def locations(arguments: Any) -> list[schema.ToolCallLocation]:
    """Return the files that a call names by an absolute path or a file URL."""
    if not isinstance(arguments, Mapping):
        return []
    paths = [path for key in _PATHS if (path := _absolute(arguments.get(key)))]
    several = arguments.get("paths")
    if isinstance(several, list):
        paths += [path for each in several if (path := _absolute(each))]
    line = arguments.get("line")
    known = type(line) is int and line >= 0 and len(paths) == 1
    return [
        schema.ToolCallLocation(path=path, line=line if known else None)
        for path in dict.fromkeys(paths)
    ]


def changes(arguments: Any) -> list[Any]:
    """Return the replacements of text in a file that a call describes, as diffs."""
    if not isinstance(arguments, Mapping):
        return []
    path = next((path for key in _PATHS if (path := _absolute(arguments.get(key)))), None)
    if path is None or arguments.get("dryRun"):
        return []
    return [tool_diff_content(path, new, old) for old, new in _replacements(arguments)]


def _replacements(arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    edits = arguments.get("edits")
    for edit in [arguments, *(edits if isinstance(edits, list) else [])]:
        if isinstance(edit, Mapping):
            old = next((edit[key] for key in _OLD if isinstance(edit.get(key), str)), None)
            new = next((edit[key] for key in _NEW if isinstance(edit.get(key), str)), None)
            if old is not None and new is not None:
                yield old, new


def _absolute(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    if value.startswith("file://"):
        value = unquote(urlsplit(value).path)
    absolute = PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute()
    return value if absolute and "\0" not in value else ""
