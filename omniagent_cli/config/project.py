"""The settings file of a project: search, and permissions before it is trusted.

The search goes up from the working directory. Inside the home directory it ends below home: a file in the home
directory would apply to every project, as the user's own file does, and directories above belong to other users.
Elsewhere it ends at the root.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omniagent_cli import private_files as files
from omniagent_cli.config import paths, trust
from omniagent_cli.config.document import Document, leaves
from omniagent_cli.config.resolved_value import Origin, ResolvedValue, check_value
from omniagent_cli.config.setting_names import Key, join_key
from omniagent_cli.config.settings_table import Untrusted, find, is_table
from omniagent_cli.errors import ConfigError

_NAMES_SHOWN = 8
_Values = dict[Key, ResolvedValue]


def find_project_file(cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the nearest project file, or None. Only a regular file counts: reading a pipe could hang."""
    for directory in _searched(cwd, environ):
        candidate = directory / paths.PROJECT_FILE
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # an unreadable directory
            continue
    return None


def load(
    cwd: Path, environ: Mapping[str, str], user: _Values, user_file: Path
) -> tuple[Path | None, _Values, str]:
    """Read the project file, as far as it is trusted.

    Args:
        cwd: where the search starts.
        environ: the environment variables, for home and the record of trust.
        user: values of the user's file; a project may choose a model that is named there.
        user_file: the user's file, which is never the project file.

    Returns:
        The file, its values, and one line about ignored settings, or an empty one.

    Raises:
        ConfigError: a trusted file has an invalid value.
    """
    path = find_project_file(cwd, environ)
    if path is None or path == user_file.resolve():
        return None, {}, ""
    try:
        document = Document(path, files.read_bounded(path))
    except OSError as error:
        return path, {}, _line(f"{path} was ignored: {error.strerror or error}")
    except ConfigError as error:
        # An unparsable file cannot be trusted, and must not stop a command.
        return path, {}, _line(f"ignored {error}")
    return (path, *_trusted_values(document, environ, user))


def _trusted_values(
    document: Document, environ: Mapping[str, str], user: _Values
) -> tuple[_Values, str]:
    harmless, refused = _harmless(document, user)
    if not refused:
        return harmless, ""
    if not trust.is_trusted(document.path, environ=environ, content=document.content):
        return harmless, _line(
            f"{document.path} is not trusted, so it does not set {_some(refused)}; "
            "run 'omniagent config trust' to allow it"
        )
    values, unknown = _all(document)
    if unknown:
        return values, _line(f"{document.path}: ignored unknown setting {_some(unknown)}")
    return values, ""


def _harmless(document: Document, user: _Values) -> tuple[_Values, list[Key]]:
    """Return the values that an untrusted file may set, and the names of the others."""
    allowed, refused = {}, []
    models = _models_named(user)
    for key, raw in _entries(document):
        setting = find(key)
        rule = setting.untrusted if setting else Untrusted.NO
        known = isinstance(raw, str) and raw.strip() in models
        if setting and (rule is Untrusted.YES or (rule is Untrusted.KNOWN_MODEL and known)):
            try:
                allowed[key] = check_value(key, setting, raw, _origin(document, key))
                continue
            except ConfigError:
                pass
        refused.append(key)
    return allowed, refused


def _all(document: Document) -> tuple[_Values, list[Key]]:
    values, unknown = {}, []
    for key, raw in _entries(document):
        if setting := find(key):
            values[key] = check_value(key, setting, raw, _origin(document, key))
        else:
            unknown.append(key)
    return values, unknown


def _entries(document: Document) -> Iterator[tuple[Key, Any]]:
    return ((key, raw) for key, raw in leaves(document.data) if raw != {} or not is_table(key))


def _models_named(user: _Values) -> set[str]:
    named = {value.value for key, value in user.items() if key in {("model",), ("titles", "model")}}
    for key, value in user.items():
        if key[:2] == ("models", "aliases"):
            named |= {key[2], value.value}
    return named


def _origin(document: Document, key: Key) -> Origin:
    return Origin("project", document=document, key=key)


def _some(keys: list[Key]) -> str:
    names = [join_key(key) for key in keys[:_NAMES_SHOWN]]
    more = len(keys) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _line(text: str) -> str:
    """Return text from a project on one line, without control characters."""
    from omniagent_cli.text.sanitize import one_line

    return one_line(text)


def _searched(cwd: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    try:
        home = Path(paths.home(environ)).resolve()
    except ConfigError:
        home = None
    start = Path(cwd).resolve()
    for directory in (start, *start.parents):
        if directory == home:
            return
        yield directory
