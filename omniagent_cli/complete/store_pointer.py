"""The store of a command line for TAB, found without reading the settings.

``--store`` and OMNIAGENT_STORE name it directly. Otherwise the settings do, and reading them is too slow for TAB: so
each command that opened a store records it in a cache, with everything that determined the choice. While none of that
has changed, the record is used; otherwise the settings are read.
"""

from __future__ import annotations

import os

from omniagent_cli.config.paths import PROJECT_FILE, default_store_path, directory, home
from omniagent_cli.errors import ConfigError
from omniagent_cli.stores.location import StoreLocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["chosen_store", "read_pointer", "write_pointer"]

_STORE_VARIABLES = (
    "OMNIAGENT_STORE",
    "OMNIAGENT_CONFIG",
    "OMNIAGENT_STORAGE_TYPE",
    "OMNIAGENT_STORAGE_PATH",
    "OMNIAGENT_STORAGE_REDIS_URL",
)
_VARIABLES = (*_STORE_VARIABLES, "XDG_DATA_HOME", "XDG_STATE_HOME", "HOME")
_LINES = 50


def chosen_store(options: Mapping[str, str], environ: Mapping[str, str]) -> StoreLocation:
    """Return the store of a command line.

    Args:
        options: the options on the line.
        environ: the environment variables.

    Raises:
        ConfigError: the URL is invalid.
    """
    named = options.get("--store", "") or environ.get("OMNIAGENT_STORE", "")
    if named and not named.startswith("@"):
        return StoreLocation(named)
    config_file, cwd = options.get("--config") or None, os.getcwd()  # noqa: PTH109
    if not _is_configured(named, config_file, environ, cwd):
        return StoreLocation(default_store_path(environ))
    url = read_pointer(named, config_file, environ, cwd)
    return StoreLocation(url or _from_settings(named, config_file, environ, cwd))


def read_pointer(
    named: str, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> str | None:
    """Return the URL of the store that was opened last under the same settings, or None."""
    try:
        line = _key(named, config_file, environ, cwd) + "\t"
        with open(_pointers(environ), encoding="utf-8") as file:  # noqa: PTH123  # pathlib is slow to import
            for known in file:
                if known.startswith(line):
                    return known[len(line) :].rstrip("\n")
    except (OSError, ValueError):
        return None
    return None


def write_pointer(
    url: str, named: str | None, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> None:
    """Record the store that the settings chose, best effort; a URL with a password is not recorded.

    Args:
        url: the store that was opened.
        named: the value of ``--store``, or None.
        config_file: the value of ``--config``, or None.
        environ: the environment variables.
        cwd: the working directory.
    """
    named = named or environ.get("OMNIAGENT_STORE", "")
    if (named and not named.startswith("@")) or _may_hold_secret(url) or not url.isprintable():
        return
    from pathlib import Path

    from omniagent_cli.private_files import write_private

    try:
        if not _is_configured(named, config_file, environ, cwd):
            return
        if read_pointer(named, config_file, environ, cwd) == url:
            return
        key, path = _key(named, config_file, environ, cwd), Path(_pointers(environ))
        kept = [line for line in _lines(path) if not line.startswith(f"{key}\t")]
        write_private(path, f"{key}\t{url}\n{''.join(kept[: _LINES - 1])}".encode())
    except (OSError, ValueError, ConfigError):
        return


def _from_settings(
    named: str, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> str:
    from pathlib import Path

    from omniagent_cli.config.resolution import resolve_store
    from omniagent_cli.config.settings import load_settings

    flags = {"store.url": named} if named else {}
    return resolve_store(load_settings(environ, Path(cwd), config_file, flags)).url


def _is_configured(
    named: str, config_file: str | None, environ: Mapping[str, str], cwd: str
) -> bool:
    """Return True if any file, variable or flag could choose another store than the default."""
    if named or config_file or any(environ.get(name) for name in _STORE_VARIABLES):
        return True
    return (
        _state(f"{directory('config', environ)}/config.toml") != ""
        or _project_file(environ, cwd) != ""
    )


def _key(named: str, config_file: str | None, environ: Mapping[str, str], cwd: str) -> str:
    """Return everything that determines the store, as one line.

    Raises:
        ValueError: a variable may hold a password, which is never written.
    """
    variables = [environ.get(name, "") for name in _VARIABLES]
    if any(map(_may_hold_secret, variables)):
        raise ValueError("a variable may hold a password")
    parts: list[object] = [named, config_file or "", *variables]
    chosen = config_file or environ.get("OMNIAGENT_CONFIG", "")
    default = f"{directory('config', environ)}/config.toml"
    parts.append(_state(_expand(chosen, environ) if chosen else default))
    project = _project_file(environ, cwd)
    if project != "":
        trust = f"{directory('state', environ)}/trusted-projects.json"
        parts += [project, _state(project), _state(trust)]
    if any(
        path and not path.startswith("/")
        for path in (chosen, environ.get("OMNIAGENT_STORAGE_PATH"))
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
    """Return the project file as `config.project` finds it; a test compares the two."""
    place = os.path.realpath(cwd)
    end = os.path.realpath(home(environ))
    while place != end:
        candidate = os.path.join(place, PROJECT_FILE)  # noqa: PTH118
        if os.path.isfile(candidate):  # noqa: PTH113
            return candidate
        above = os.path.dirname(place)  # noqa: PTH120
        if above == place:
            break
        place = above
    return ""


def _expand(path: str, environ: Mapping[str, str]) -> str:
    return home(environ) + path[1:] if path == "~" or path.startswith("~/") else path


def _may_hold_secret(url: str) -> bool:
    """Return True if a URL may hold a password, in its user info or its parameters."""
    if "@" not in url and "?" not in url:
        return False
    from omniagent_cli.masking import mask_url  # imports re, which most URLs can do without

    return mask_url(url) != url or "@" in url.partition("://")[2]


def _pointers(environ: Mapping[str, str]) -> str:
    return f"{directory('cache', environ)}/stores"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError):
        return []
