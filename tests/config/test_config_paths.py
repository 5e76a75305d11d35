"""Directories: the same as platformdirs says, without importing it; and what importing us costs."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from omniagent_cli.config.paths import (
    cache_dir,
    config_dir,
    config_path,
    data_dir,
    directory,
    state_dir,
)
from omniagent_cli.config.settings import load_settings
from omniagent_cli.errors import ConfigError

KINDS = ("config", "data", "state", "cache")
HEAVY = "{'tomllib', 'tomli_w', 'platformdirs', 'asyncio', 'dataclasses', 'inspect', 'tempfile', 'difflib', 'urllib.request'}"

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG rules are for Linux")


@linux
@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HOME": "/tmp/somebody"},
        {"HOME": "/tmp/somebody/"},
        {"HOME": "/"},
        {"HOME": ""},
        {"HOME": "relative"},
        {"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c/"},
        {"HOME": "/h", "XDG_STATE_HOME": "relative", "XDG_CACHE_HOME": " "},
        {"HOME": "/h", "XDG_CACHE_HOME": ""},
    ],
)
def test_same_as_platformdirs(variables, monkeypatch):
    """Our short cut and the library agree about every directory."""
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    known = platformdirs.PlatformDirs("omniagent", appauthor=False)
    ours = [directory(kind, variables) for kind in KINDS]
    assert ours == [getattr(known, f"user_{kind}_dir") for kind in KINDS]


@linux
def test_without_home_the_user_database_answers(monkeypatch):
    """No HOME is no problem for a user the system knows; for another, the message says what to set."""
    assert directory("data", {}) == f"{pwd.getpwuid(os.getuid()).pw_dir}/.local/share/omniagent"
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000)  # a user the system does not know
    with pytest.raises(ConfigError, match=r"HOME is not set .* set HOME, or XDG_CONFIG_HOME"):
        directory("data", {})
    assert directory("data", {"XDG_DATA_HOME": "/d"}) == "/d/omniagent"


@linux
def test_paths_of_each_directory():
    """The named functions give paths."""
    environ = {"HOME": "/h"}
    assert [f(environ) for f in (config_dir, data_dir, state_dir, cache_dir)] == [
        Path("/h/.config/omniagent"),
        Path("/h/.local/share/omniagent"),
        Path("/h/.local/state/omniagent"),
        Path("/h/.cache/omniagent"),
    ]
    assert config_path(environ) == Path("/h/.config/omniagent/config.toml")
    assert config_path(environ | {"OMNIAGENT_CONFIG": "~/x.toml"}) == Path("/h/x.toml")
    assert config_path(environ | {"OMNIAGENT_CONFIG": "/y"}, "z.toml") == Path("z.toml")


def test_without_a_home_settings_still_load(tmp_path):
    """With the XDG variables set, nothing asks for HOME."""
    environ = {f"XDG_{kind.upper()}_HOME": str(tmp_path) for kind in KINDS}
    assert load_settings(environ, tmp_path).window.max_messages == 100


def loaded(statement: str, *arguments: str) -> str:
    """Run a statement in a fresh interpreter and return which heavy modules it loaded."""
    program = f"import sys\n{statement}\nprint(sorted({HEAVY} & set(sys.modules)))"
    command = [sys.executable, "-c", program, *arguments]
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=root
    ).stdout.strip()


def test_importing_is_cheap():
    """Importing the package, or all it takes to read settings, loads nothing heavy."""
    assert loaded("import omniagent_cli.config") == "[]"
    assert loaded("from omniagent_cli.config import resolution, settings, trust") == "[]"


def test_directories_cost_nothing():
    """TAB asks where the cache is and pays for no module but ours."""
    program = (
        "before = set(sys.modules)\n"
        "from omniagent_cli.config.paths import directory; directory('cache', {'HOME': '/h'})\n"
        "new = {name for name in set(sys.modules) - before if not name.startswith('omniagent_cli')}\n"
        "assert new <= {'__future__'}, new"
    )
    assert loaded(program) == "[]"


def test_toml_is_loaded_only_for_a_file(machine):
    """Without a settings file no TOML reader is loaded; with one, it alone."""
    program = (
        "from pathlib import Path\n"
        "from omniagent_cli.config.resolution import chosen_model, resolve_store\n"
        "from omniagent_cli.config.settings import load_settings\n"
        "s = load_settings({'HOME': sys.argv[1]}, Path(sys.argv[2]))\n"
        "resolve_store(s); chosen_model(s)"
    )
    places = (str(machine.home), str(machine.project))
    assert loaded(program, *places) == "[]"
    machine.user("model = 'x'\n")
    assert loaded(program, *places) == "['tomllib']"
