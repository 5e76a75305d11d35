"""Settings: names, sources, trust and editing. Each name is loaded on first use, because TAB needs only `paths`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from omniagent_cli.config.display import SettingRow, describe
    from omniagent_cli.config.edit import add_value, set_value, unset_value
    from omniagent_cli.config.mcp import McpServer, mcp_servers
    from omniagent_cli.config.paths import (
        cache_dir,
        config_dir,
        config_path,
        data_dir,
        directory,
        state_dir,
    )
    from omniagent_cli.config.project import find_project_file
    from omniagent_cli.config.resolution import (
        StoreChoice,
        chosen_model,
        resolve_model,
        resolve_store,
        resolve_window,
    )
    from omniagent_cli.config.resolved_value import Origin
    from omniagent_cli.config.settings import Settings, load_settings
    from omniagent_cli.config.settings_table import SETTINGS, Setting
    from omniagent_cli.config.trust import is_trusted, trust_project, untrust_project

__all__ = [
    "SETTINGS",
    "McpServer",
    "Origin",
    "Setting",
    "SettingRow",
    "Settings",
    "StoreChoice",
    "add_value",
    "cache_dir",
    "chosen_model",
    "config_dir",
    "config_path",
    "data_dir",
    "describe",
    "directory",
    "find_project_file",
    "is_trusted",
    "load_settings",
    "mcp_servers",
    "resolve_model",
    "resolve_store",
    "resolve_window",
    "set_value",
    "state_dir",
    "trust_project",
    "unset_value",
    "untrust_project",
]

_HOMES = {
    "resolution": (
        "StoreChoice",
        "chosen_model",
        "resolve_model",
        "resolve_store",
        "resolve_window",
    ),
    "edit": ("add_value", "set_value", "unset_value"),
    "display": ("SettingRow", "describe"),
    "mcp": ("McpServer", "mcp_servers"),
    "paths": ("cache_dir", "config_dir", "config_path", "data_dir", "directory", "state_dir"),
    "project": ("find_project_file",),
    "settings": ("Settings", "load_settings"),
    "settings_table": ("SETTINGS", "Setting"),
    "trust": ("is_trusted", "trust_project", "untrust_project"),
    "resolved_value": ("Origin",),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
