"""Skill folders: instructions for one kind of task, ``NAME/SKILL.md`` and files beside it, read by the model on demand.

Source: the Agent Skills format, https://agentskills.io/specification: a YAML header with ``name`` and ``description``,
then Markdown. The model gets names and descriptions with the tool, and the instructions when it calls it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.agent.tools.tool import Tool
from omniagent_cli.errors import UsageError
from omniagent_cli.text.sanitize import cut, one_line

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

FILE = "SKILL.md"
MAX_BYTES = 200_000
"""The limit of a file that the model reads."""

_DESCRIPTION_LENGTH = 500
_MAX_FOLDERS = 100
_HEADER = re.compile(r"---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SkillFolder:
    """One folder with a ``SKILL.md``.

    Attributes:
        allows: whether a file may be read; those of a project have to be trusted.
    """

    name: str
    description: str
    place: Path
    allows: Callable[[Path], bool]


class SkillFolders(Skill):
    """The tool ``skill_read`` over skill folders; of equal names the last wins."""

    def __init__(self, folders: Iterable[SkillFolder]) -> None:
        super().__init__("skills", description="instructions in skill folders, read on demand")
        self._folders = {folder.name: folder for folder in folders}

    async def open(self, store: SessionStore | None) -> Sequence[Tool]:
        """Return the tool; none without folders."""
        del store
        return [self._tool()] if self._folders else []

    def _tool(self) -> Tool:
        listed = "\n".join(f"- {one.name}: {one.description}" for one in self._folders.values())
        return Tool(
            "skill_read",
            "Read the instructions of a skill before a task that its description fits, or another file of it that"
            f" the instructions mention. The skills:\n{listed}",
            self.read,
            {
                "type": "object",
                "properties": {
                    "skill": {"type": "string", "description": "the name of the skill"},
                    "file": {"type": "string", "description": f"a file of it; default: {FILE}"},
                },
                "required": ["skill"],
            },
        )

    def read(self, skill: str, file: str = FILE) -> str:
        """Return a file of a skill, and the names of the others after its instructions.

        Raises:
            UsageError: there is no such skill or file, or it is not text.
        """
        folder = self._folders.get(skill)
        if folder is None:
            raise UsageError(f"no skill {cut(skill, 80)!r}; one of {', '.join(self._folders)}")
        place = folder.place.resolve()
        path = (place / file).resolve()
        if not path.is_relative_to(place) or not path.is_file() or not folder.allows(path):
            raise UsageError(f"the skill {skill} has no file {cut(file, 80)!r}")
        text = _text(path)
        others = [] if file != FILE else _others(place, folder.allows)
        return text + (f"\n\nFiles of this skill: {', '.join(others)}" if others else "")


def _others(place: Path, allows: Callable[[Path], bool]) -> list[str]:
    files = sorted(path for path in place.rglob("*") if path.is_file() and path.name != FILE)
    return [str(path.relative_to(place)) for path in files[:_MAX_FOLDERS] if allows(path)]


def skill_folders(directory: Path, allows: Callable[[Path], bool]) -> list[SkillFolder]:
    """Return the skills of a directory; a folder that cannot be read, or may not, is left out.

    Args:
        directory: the parent of the folders, which may not exist.
        allows: whether a file of it may be read.
    """
    found = []
    for file in sorted(directory.glob(f"*/{FILE}"))[:_MAX_FOLDERS]:
        try:
            if allows(file) and file.is_file():
                found.append(_folder(file, allows))
        except (OSError, UsageError):
            continue
    return found


def _folder(file: Path, allows: Callable[[Path], bool]) -> SkillFolder:
    import yaml

    found = _HEADER.match(_text(file))
    try:
        header = yaml.safe_load(found[1]) if found else None
    except (yaml.YAMLError, ValueError, RecursionError):
        header = None
    header = header if isinstance(header, dict) else {}
    description = one_line(str(header.get("description") or ""))
    name = one_line(str(header.get("name") or file.parent.name))
    return SkillFolder(cut(name, 64), cut(description, _DESCRIPTION_LENGTH), file.parent, allows)


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path.name} is larger than {MAX_BYTES // 1000} kB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8 text") from error
