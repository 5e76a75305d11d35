"""Which store TAB reads, told without reading any settings.

A flag or OMNIAGENT_STORE says it directly. Otherwise the settings do, and reading them takes longer than a TAB may:
so each command that opened the store they choose leaves a line in the cache, made of everything that decided the
choice. While all of that is as it was, the line holds; else the settings are read.
"""

from __future__ import annotations

import os

from omniagent_cli.config.paths import default_store_path, directory, home
from omniagent_cli.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["chosen_store", "forget_ids", "read_pointer", "write_ids", "write_pointer"]

_CHOOSING = (
    "OMNIAGENT_STORE",
    "OMNIAGENT_CONFIG",
    "OMNIAGENT_STORAGE_TYPE",
    "OMNIAGENT_STORAGE_PATH",
    "OMNIAGENT_STORAGE_REDIS_URL",
)
_VARIABLES = (*_CHOOSING, "XDG_DATA_HOME", "XDG_STATE_HOME", "HOME")
_PROJECT_FILE = ".omniagent.toml"
_LINES = 50


def chosen_store(given: Mapping[str, str], environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the store of a command line: ``sqlite`` and its file, ``file`` and its directory, or ``list``.

    A list is the file in the cache with the ids of a store that TAB does not ask itself.

    Args:
        given: the options on the line.
        environ: the environment variables.
    """
    asked = given.get("--store", "") or environ.get("OMNIAGENT_STORE", "")
    if asked and not asked.startswith("@"):
        return _local(asked, environ)
    config_file, cwd = given.get("--config") or None, os.getcwd()  # noqa: PTH109
    if not _anything_set(asked, config_file, environ, cwd):
        return "sqlite", default_store_path(environ)
    url = read_pointer(asked, config_file, environ, cwd) or _by_settings(
        asked, config_file, environ, cwd
    )
    return _local(url, environ)


def read_pointer(
    asked: str, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> str | None:
    """Return the URL of the store that was opened last time when everything was as it is now."""
    try:
        line = _key(asked, config_file, environ, cwd) + "\t"
        with open(_pointers(environ), encoding="utf-8") as file:  # noqa: PTH123  # pathlib is too much here
            for known in file:
                if known.startswith(line):
                    return known[len(line) :].rstrip("\n")
    except (OSError, ValueError):
        return None
    return None


def write_pointer(
    url: str, asked: str | None, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> None:
    """Remember which store the settings chose; what cannot be written is not remembered.

    Args:
        url: the store that was opened.
        asked: what ``--store`` said, or None.
        config_file: what ``--config`` said, or None.
        environ: the environment variables.
        cwd: the working directory.
    """
    asked = asked or environ.get("OMNIAGENT_STORE", "")
    if (asked and not asked.startswith("@")) or _holds_secret(url) or not url.isprintable():
        return
    try:
        if not _anything_set(asked, config_file, environ, cwd):
            return
        if read_pointer(asked, config_file, environ, cwd) == url:
            return
        key, path = _key(asked, config_file, environ, cwd), _pointers(environ)
        kept = [line for line in _lines(path) if not line.startswith(f"{key}\t")]
        _write(path, [f"{key}\t{url}\n", *kept[: _LINES - 1]])
    except (OSError, ValueError, ConfigError):
        return


def write_ids(url: str, sessions: Iterable[tuple[str, str]], environ: Mapping[str, str]) -> None:
    """Keep the ids and titles of a store TAB cannot read itself, newest first; best effort.

    Titles of an encrypted store must be left out: the cache is plain text.
    """
    try:
        place = _local(url, environ)
        if place is not None and place[0] == "list":
            titles = ((session_id, " ".join(title[:400].split())) for session_id, title in sessions)
            _write(place[1], [f"{session_id}\t{title}\n" for session_id, title in titles])
    except (OSError, ValueError, ConfigError):
        return


def forget_ids(url: str, environ: Mapping[str, str]) -> None:
    """Remove what was kept of a store by `write_ids`: it was encrypted, and titles must not be readable."""
    try:
        place = _local(url, environ)
        if place is not None and place[0] == "list":
            os.unlink(place[1])  # noqa: PTH108
    except (OSError, ValueError, ConfigError):
        return


def _by_settings(asked: str, config_file: str | None, environ: Mapping[str, str], cwd: str) -> str:
    from pathlib import Path

    from omniagent_cli.config import load_settings, resolve_store

    flags = {"store.url": asked} if asked else {}
    return resolve_store(load_settings(environ, Path(cwd), config_file, flags)).url


def _anything_set(
    asked: str, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> bool:
    """Tell whether any file, variable or flag could choose another store than the default one."""
    if asked or config_file or any(environ.get(name) for name in _CHOOSING):
        return True
    return (
        _state(f"{directory('config', environ)}/config.toml") != ""
        or _project_file(environ, cwd) != ""
    )


def _key(asked: str, config_file: str | None, environ: Mapping[str, str], cwd: str) -> str:
    """Return everything that decides the store, as one line."""
    variables = [environ.get(name, "") for name in _VARIABLES]
    if any(map(_holds_secret, variables)):
        raise ValueError("a variable holds a password, which is written nowhere")
    parts: list[object] = [asked, config_file or "", *variables]
    named = config_file or environ.get("OMNIAGENT_CONFIG", "")
    usual = f"{directory('config', environ)}/config.toml"
    parts.append(_state(_expanded(named, environ) if named else usual))
    project = _project_file(environ, cwd)
    if project != "":
        trust = f"{directory('state', environ)}/trusted-projects.json"
        parts += [project, _state(project), _state(trust)]
    if any(
        path and not path.startswith("/") for path in (named, environ.get("OMNIAGENT_STORAGE_PATH"))
    ):
        parts.append(cwd)
    return ascii(parts)


def _state(path: str) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return ""
    return f"{path} {found.st_mtime_ns} {found.st_size} {found.st_ino}"


def _project_file(environ: Mapping[str, str], cwd: str) -> str:
    """Find the project file as `config.project` does; a test compares the two."""
    place = os.path.realpath(cwd)
    end = os.path.realpath(home(environ))
    while place != end:
        candidate = os.path.join(place, _PROJECT_FILE)  # noqa: PTH118
        if os.path.isfile(candidate):  # noqa: PTH113
            return candidate
        above = os.path.dirname(place)  # noqa: PTH120
        if above == place:
            break
        place = above
    return ""


def _local(asked: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Read a URL or path as `stores.split_url` does; a test compares the two."""
    scheme, colon, rest = asked.partition(":")
    if scheme == "openai-conversations":  # its map is a store as any other
        path = rest.removeprefix("//") or f"{directory('data', environ)}/conversations.db"
        return "sqlite", _expanded(path, environ)
    if colon and len(scheme) > 1 and "/" not in scheme and scheme in ("sqlite", "file", "memory"):
        if scheme == "memory" or (rest.startswith("//") and not rest.startswith("///")):
            return None
        path = _unquoted(rest.removeprefix("//"))
        bare = scheme == "sqlite" and path.startswith("/") and path.count("/") == 1
        path = path[1:] if bare or path.startswith("//") else path
    elif colon and len(scheme) > 1 and "/" not in scheme and rest.startswith("//"):
        return "list", _ids_file(asked, environ)
    else:
        path, scheme = asked, "sqlite"
    path = _expanded(path, environ)
    if scheme == "file" or path.endswith("/") or os.path.isdir(path):  # noqa: PTH112
        return "file", path
    return "sqlite", path


def _unquoted(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)


def _expanded(path: str, environ: Mapping[str, str]) -> str:
    return home(environ) + path[1:] if path == "~" or path.startswith("~/") else path


def _holds_secret(text: str) -> bool:
    """Tell whether a URL may hold a password, which is written nowhere."""
    return "@" in text.partition("://")[2]


def _pointers(environ: Mapping[str, str]) -> str:
    return f"{directory('cache', environ)}/stores"


def _ids_file(store: str, environ: Mapping[str, str]) -> str:
    from hashlib import sha256

    scheme, separator, rest = store.partition("://")
    user, _, server = rest.rpartition("@")
    place = f"{scheme}{separator}{user.partition(':')[0]}@{server}"
    name = sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return f"{directory('cache', environ)}/ids-{name}"


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            return file.readlines()
    except (OSError, ValueError):
        return []


def _write(path: str, lines: list[str]) -> None:
    from pathlib import Path

    from omniagent_cli.private_files import write_private

    write_private(Path(path), "".join(lines).encode("utf-8", "surrogateescape"))
