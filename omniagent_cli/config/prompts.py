"""Saved prompts: ``prompts/NAME.md`` in the configuration directory, or beside the settings file of a trusted project.

A file is text, with placeholders such as ``{{language}}`` and ``{{input}}``, after an optional YAML header between two
lines of ``---`` with the keys of `_KEYS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omniagent_cli.config import paths, trust
from omniagent_cli.config.project import find_project_file
from omniagent_cli.errors import ConfigError, UsageError
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.private_files import read_bounded

DIRECTORY = "prompts"
ENDING = ".md"
INPUT = "input"
SKILLS = "skills"
"""Directory of skills; see `config.skill_folders`."""

_MAX_FILES = 200

_KEYS = ("description", "model", "system", "tools", "schema", "variables")
_NAME = re.compile(r"[^\W_][\w.-]*")
_HEADER = re.compile(r"---[ \t]*\n(.*?\n|)---[ \t]*(?:\n|\Z)", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{\{[ \t]*([^\W\d][\w-]*)[ \t]*\}\}")

_ASSIGNMENT = re.compile(r"""([^\W\d][\w-]*)=("[^"]*"|'[^']*'|\S*)(?:\s+|\Z)""")


@dataclass(frozen=True, slots=True)
class SavedPrompt:
    """A saved prompt.

    Attributes:
        path: its file.
        in_project: it belongs to a project, not to the user.
        text: the text with placeholders; may be empty.
        tools: the tools and skills to offer; None for all.
        schema: a JSON schema, or the path of its file; None for none.
        variables: defaults of the placeholders by name; None for one that is required.
    """

    name: str
    path: Path
    in_project: bool = False
    text: str = ""
    description: str = ""
    model: str | None = None
    system: str | None = None
    tools: tuple[str, ...] | None = None
    schema: dict[str, Any] | str | None = None
    variables: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The description, or the beginning of the text."""
        return self.description or " ".join(self.text.split())[:80]

    def render(self, said: str, values: Mapping[str, str] | None = None) -> str:
        """Return the text with its placeholders replaced.

        Args:
            said: the input, which replaces ``{{input}}`` or follows the text.
            values: the values of variables.

        Raises:
            UsageError: a value is missing, or there is no such variable.
        """
        known = {name: default for name, default in self.variables.items() if name != INPUT}
        for name in values or {}:
            if name not in known:
                hint = did_you_mean(name, known, f"it has {', '.join(known) or 'none'}")
                raise UsageError(f"the prompt {self.name!r} has no variable {name!r}; {hint}")
        known |= values or {}
        missing = [name for name, value in known.items() if value is None]
        if missing:
            raise UsageError(
                f"the prompt {self.name!r} needs a value: add {missing[0]}=VALUE"
                f" (in 'omniagent ask': --var {missing[0]}=VALUE)"
            )
        inserted = False

        def value_of(found: re.Match[str]) -> str:
            nonlocal inserted
            if found[1] == INPUT:
                inserted = True
                return said
            value = known.get(found[1])
            return found[0] if value is None else value

        text = _PLACEHOLDER.sub(value_of, self.text)
        rest = "" if inserted else said
        return "\n\n".join(part for part in (text.strip("\n"), rest) if part.strip())


def prompt_names(environ: Mapping[str, str], cwd: Path) -> list[str]:
    """Return the names of all prompts, sorted, without reading them."""
    return sorted(
        {path.stem for directory in _directories(environ, cwd) for path in _files(directory)}
    )


def saved_prompts(
    environ: Mapping[str, str], cwd: Path
) -> tuple[list[SavedPrompt], list[ConfigError]]:
    """Return all prompts that can be read, by name, and the errors of the others."""
    found, errors = [], []
    for name in prompt_names(environ, cwd):
        try:
            found.append(saved_prompt(name, environ, cwd))
        except ConfigError as error:
            errors.append(error)
    return found, errors


def saved_prompt(name: str, environ: Mapping[str, str], cwd: Path) -> SavedPrompt:
    """Read a prompt; the user's own one wins over that of the project.

    Raises:
        UsageError: there is none of this name.
        ConfigError: it cannot be read, is not trusted, or has an invalid header.
    """
    path = find_prompt(name, environ, cwd)
    if path is None:
        names = prompt_names(environ, cwd)
        place = own_file("NAME", environ)
        hint = did_you_mean(name, names, f"'omniagent prompts edit {name}' creates it")
        raise UsageError(f"no prompt {name!r} in {place.parent}; {hint}")
    in_project = path.parent != place_of(environ)
    try:
        content = read_bounded(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    if in_project and not trust.is_trusted(path, environ=environ, content=content):
        raise ConfigError(
            f"the prompt {path} of this project is not trusted; read it, then run: omniagent config trust"
        )
    return _parse(name, path, content, in_project=in_project)


def find_prompt(name: str, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the file of a prompt; None without one."""
    if not is_prompt_name(name):
        return None
    for directory in _directories(environ, cwd):
        path = directory / f"{name}{ENDING}"
        if path.is_file():
            return path
    return None


def is_prompt_name(name: str) -> bool:
    """Return True if a name consists of letters, digits, ``_``, ``-`` and ``.``, and starts with a letter or digit."""
    return bool(_NAME.fullmatch(name)) and len(name) <= 100


def place_of(environ: Mapping[str, str]) -> Path:
    """Return the directory of the user's own prompts, which may not exist."""
    return paths.config_dir(environ) / DIRECTORY


def own_file(name: str, environ: Mapping[str, str]) -> Path:
    """Return the file of a prompt of the user, which may not exist."""
    return place_of(environ) / f"{name}{ENDING}"


def project_texts(project: Path) -> list[Path]:
    """Return the prompts of a project and the files of its skills, which have to be trusted before they are used."""
    skills = project / SKILLS
    files = sorted(path for path in skills.glob("*/**/*") if path.is_file())[:_MAX_FILES]
    return [*_files(project / DIRECTORY), *files]


def _directories(environ: Mapping[str, str], cwd: Path) -> Iterator[Path]:
    yield place_of(environ)
    if (project := find_project_file(cwd, environ)) is not None:
        yield project.parent / DIRECTORY


def _files(directory: Path) -> list[Path]:
    try:
        found = sorted(directory.glob(f"*{ENDING}"))
    except OSError:
        return []
    return [path for path in found if is_prompt_name(path.stem) and path.is_file()]


def _parse(name: str, path: Path, content: bytes, *, in_project: bool) -> SavedPrompt:
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"the prompt {path} is not UTF-8 text; save it as UTF-8") from error
    found = _HEADER.match(text)
    if found is None:
        return SavedPrompt(name, path, in_project, text)
    header = _header(found[1], path)
    return SavedPrompt(
        name,
        path,
        in_project,
        text[found.end() :],
        description=_text(header, "description", path) or "",
        model=_text(header, "model", path),
        system=_text(header, "system", path),
        tools=_tools(header.get("tools"), path),
        schema=_schema(header.get("schema"), path),
        variables=_variables(header.get("variables"), path),
    )


def _header(text: str, path: Path) -> dict[str, Any]:
    import yaml

    try:
        header = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 2}" if mark else ""
        problem = getattr(error, "problem", None) or "invalid text"
        raise ConfigError(f"{path}{line}: the header is not YAML: {problem}") from error
    if header is None:
        return {}
    if not isinstance(header, dict):
        raise ConfigError(f"{path}: the header must have lines such as 'model: openai:gpt-6.1-sol'")
    for key in header:
        if key not in _KEYS:
            hint = did_you_mean(str(key), _KEYS, f"must be one of {', '.join(_KEYS)}")
            raise ConfigError(f"{path}: unknown key {str(key)!r} in the header; {hint}")
    return header


def _text(header: Mapping[str, Any], key: str, path: Path) -> str | None:
    value = header.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    raise ConfigError(f"{path}: {key} must be text")


def _tools(value: Any, path: Path) -> tuple[str, ...] | None:
    if value is None or value is True:
        return None
    if value is False:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{path}: tools must be a list of names, or false for none")
    return tuple(names)


def _schema(value: Any, path: Path) -> dict[str, Any] | str | None:
    if value is None or isinstance(value, dict):
        return value
    if isinstance(value, str) and value.strip():
        return str(path.parent / Path(value).expanduser())
    raise ConfigError(f"{path}: schema must be a JSON schema or the path of one")


def _variables(value: Any, path: Path) -> dict[str, str | None]:
    if value is None:
        return {}
    given: Mapping[Any, Any] = dict.fromkeys(value) if isinstance(value, list) else value
    if not isinstance(given, dict) or not all(
        isinstance(name, str) and isinstance(default, str | int | float | None)
        for name, default in given.items()
    ):
        raise ConfigError(f"{path}: variables must be a list of names, or names with defaults")
    return {name: None if default is None else str(default) for name, default in given.items()}


def split_values(text: str, prompt: SavedPrompt) -> tuple[dict[str, str], str]:
    """Separate ``name=value`` words at the beginning, for variables of a prompt, from the rest of a text."""
    values: dict[str, str] = {}
    text = text.lstrip()
    while (found := _ASSIGNMENT.match(text)) and found[1] in prompt.variables:
        values[found[1]] = found[2][1:-1] if found[2][:1] in ("'", '"') else found[2]
        text = text[found.end() :]
    return values, text
