"""``sillytavern``: chats of SillyTavern, ``data/USER/chats/CHARACTER/*.jsonl``.

The first line names the user and the character; each other line is a message, of which one of ``swipes`` (regenerated
answers) is displayed as ``mes``. Source: https://github.com/SillyTavern/SillyTavern (``src/endpoints/chats.js``).
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from omniagent_cli.formats.byte_source import ByteSource
from omniagent_cli.formats.readers.records import (
    image_part,
    left_out,
    list_of,
    merge_parts,
    message,
    object_of,
    text_of,
)
from omniagent_cli.formats.readers.transcripts import TranscriptReader

_COMPACT_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})\s*@\s*(\d{1,2})h\s*(\d{1,2})m\s*(\d{1,2})s"
)
_WRITTEN_TIME = "%B %d, %Y %I:%M%p"


class SillyTavern(TranscriptReader):
    """Reader of one chat per file."""

    format_name = "sillytavern"

    def _header(self, source: ByteSource, branch: str) -> dict[str, Any]:
        name = Path(source.name).stem
        self.session_id = f"{self.facts.get('character', '')} {name}".strip()
        self.facts.setdefault("title", name)
        return super()._header(source, branch)

    def add_line(self, line: dict[str, Any]) -> None:
        """Add a line; hidden messages of the program are left out."""
        if "mes" not in line:
            self.facts["character"] = text_of(line.get("character_name"))
            self.add_time(_time(line.get("create_date")))
            return
        extra, at = object_of(line.get("extra")), _time(line.get("send_date"))
        self.add_time(at)
        role = "user" if line.get("is_user") is True else "assistant"
        if line.get("is_system") is True and extra.get("type"):
            self.add([left_out("program message")])
            return
        parts = [{"type": "text", "text": text_of(line.get("mes"))}]
        if image := text_of(extra.get("image")):
            parts.append(image_part(image))
        if file := text_of(object_of(extra.get("file")).get("name")):
            parts.append({"type": "text", "text": f"[file: {file}]"})
        content, thinking = merge_parts(parts), text_of(extra.get("reasoning"))
        model = text_of(extra.get("model")) if role == "assistant" else ""
        self.facts["model"] = model or self.facts.get("model")
        if not (content or thinking):
            self.add([left_out(f"empty {role} message")])
            return
        if len(list_of(line.get("swipes"))) > 1:
            self.add([left_out("unselected version")])
        name = {"name": text_of(line.get("name"))} if role == "assistant" else {}
        self.add([message(role, content, at=at, model=model, thinking=thinking, extra=name)])


def _time(value: Any) -> Any:
    """Return a time; dates without a zone are local."""
    if not isinstance(value, str):
        return value
    try:
        if found := _COMPACT_TIME.match(value):
            year, month, day, hour, minute, second = map(int, found.groups())
            local = datetime(year, month, day, hour, minute, second)  # noqa: DTZ001  # local time
        else:
            local = datetime.strptime(value.strip(), _WRITTEN_TIME)  # noqa: DTZ007  # local time
    except ValueError:
        return value
    return local.astimezone().isoformat()
