"""Directories of settings, data, state and cache.

On Linux they follow the XDG variables directly, because importing platformdirs is too slow for TAB; a test compares
the two. For the same reason this module imports nothing that a bare interpreter has not loaded.
"""

from __future__ import annotations

import sys

from omniagent_cli.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APP_NAME = "omniagent"
PROJECT_FILE = ".omniagent.toml"
_XDG = {
    "config": ("XDG_CONFIG_HOME", ".config"),
    "data": ("XDG_DATA_HOME", ".local/share"),
    "state": ("XDG_STATE_HOME", ".local/state"),
    "cache": ("XDG_CACHE_HOME", ".cache"),
}


def home(environ: Mapping[str, str]) -> str:
    """Return the home directory: HOME when it is absolute, else that of the system's user database.

    Raises:
        ConfigError: there is none.
    """
    known = environ.get("HOME", "")
    if sys.platform == "win32":
        known = environ.get("USERPROFILE", known)
        if known:
            return known
    if known.startswith("/"):
        return known.rstrip("/") or "/"
    if found := _home_of_this_user():
        return found
    raise ConfigError(
        "there is no home directory: HOME is not set and the system's user database does not know this user; "
        "set HOME, or XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME and XDG_CACHE_HOME, to absolute directories"
    )


def directory(kind: str, environ: Mapping[str, str]) -> str:
    """Return the path of a directory, which is not created.

    Args:
        kind: ``config``, ``data``, ``state`` or ``cache``.
        environ: the environment variables; used on Linux only.

    Raises:
        ConfigError: there is no home directory.
    """
    if not sys.platform.startswith("linux"):
        return _platform_directory(kind)
    variable, below_home = _XDG[kind]
    # By the XDG specification, a path that is not absolute is ignored.
    base = environ.get(variable, "")
    if not base.startswith("/"):
        base = f"{home(environ).rstrip('/')}/{below_home}"
    return f"{base}{APP_NAME}" if base.endswith("/") else f"{base}/{APP_NAME}"


def config_dir(environ: Mapping[str, str]) -> Path:
    """Return the directory of the settings file."""
    return _as_path(directory("config", environ))


def data_dir(environ: Mapping[str, str]) -> Path:
    """Return the directory of the default store."""
    return _as_path(directory("data", environ))


def state_dir(environ: Mapping[str, str]) -> Path:
    """Return the directory of state between runs: trust, prompt history."""
    return _as_path(directory("state", environ))


def cache_dir(environ: Mapping[str, str]) -> Path:
    """Return the directory of data that can be regenerated."""
    return _as_path(directory("cache", environ))


def config_path(environ: Mapping[str, str], config_file: str | Path | None = None) -> Path:
    """Return the user's settings file: ``--config``, else OMNIAGENT_CONFIG, else the default path."""
    named = config_file or environ.get("OMNIAGENT_CONFIG")
    if not named:
        return config_dir(environ) / "config.toml"
    return expand(str(named), environ)


def default_store_path(environ: Mapping[str, str]) -> str:
    """Return the file of the default store."""
    return f"{directory('data', environ)}/sessions.db"


def default_store_url(environ: Mapping[str, str]) -> str:
    """Return the URL of the default store."""
    return sqlite_url(_as_path(default_store_path(environ)))


def sqlite_url(path: Path) -> str:
    """Return the URL of an absolute path, with special characters percent-encoded."""
    text = path.as_posix().replace("%", "%25").replace("?", "%3F").replace("#", "%23")
    return f"sqlite:///{text}"


def expand(path: str, environ: Mapping[str, str]) -> Path:
    """Return a path with a leading ``~`` replaced by the home directory of `environ`."""
    if path == "~" or path.startswith("~/"):
        path = f"{home(environ).rstrip('/')}{path[1:]}" or "/"
    return _as_path(path)


def _home_of_this_user() -> str | None:
    try:
        import os
        import pwd

        found = pwd.getpwuid(os.getuid()).pw_dir
    except (ImportError, KeyError, AttributeError):
        return None
    return (found.rstrip("/") or "/") if found.startswith("/") else None


def _platform_directory(kind: str) -> str:
    import platformdirs

    known = platformdirs.PlatformDirs(APP_NAME, appauthor=False)
    try:
        return str(getattr(known, f"user_{kind}_dir"))
    except RuntimeError as error:
        raise ConfigError(f"there is no home directory: {error}; set HOME") from error


def _as_path(text: str) -> Path:
    from pathlib import Path

    return Path(text)
