"""The environment variables that omniagent reads; a test compares this list with the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Variable(NamedTuple):
    """A variable, or several with the same meaning; the first that is set is used."""

    names: tuple[str, ...]
    text: str


_OWN = (
    Variable(("OMNIAGENT_CONFIG",), "the settings file to use instead of the default; same as --config"),
    Variable(("OMNIAGENT_ENCRYPTION_KEY",), "the key or passphrase of an encrypted store, or keyring:NAME"),
    Variable(("OMNIAGENT_STORAGE_TYPE",), "older: sqlite, redis or memory; use OMNIAGENT_STORE instead"),
    Variable(("OMNIAGENT_STORAGE_PATH",), "older: the file of a SQLite store"),
    Variable(("OMNIAGENT_STORAGE_REDIS_URL",), "older: the URL of a Redis store"),
)  # fmt: skip

_HISTORY_PATHS = (
    Variable(("HOME",), "the home directory; default: from the system's user database"),
    Variable(("USERPROFILE",), "the home directory on Windows"),
    Variable(("XDG_CONFIG_HOME",), "parent of omniagent/ with settings and the key file; default ~/.config"),
    Variable(("XDG_DATA_HOME",), "parent of omniagent/ with the default store; default ~/.local/share"),
    Variable(("XDG_STATE_HOME",), "parent of omniagent/ with state; default ~/.local/state"),
    Variable(("XDG_CACHE_HOME",), "parent of omniagent/ with caches; default ~/.cache"),
    Variable(("PATH",), "search path for programs such as the pager and the clipboard programs"),
)  # fmt: skip

_TERMINAL = (
    Variable(("NO_COLOR",), "any value: no color, unless --color is given; https://no-color.org"),
    Variable(("TERM",), "dumb or unknown: no control sequences, color or pager"),
    Variable(("COLORFGBG",), "colors of the terminal, used to detect a light background"),
    Variable(("COLUMNS",), "width of output in columns, instead of the terminal's"),
    Variable(("LC_ALL", "LC_CTYPE", "LANG"), "C or POSIX: only ASCII is drawn"),
    Variable(("PAGER",), "pager for long output while display.pager is auto; default less"),
    Variable(("LESS", "LV"), "options of pagers; default: options for less that suit the output"),
    Variable(("VISUAL", "EDITOR"), "editor of 'omniagent config edit' and the chat; default vi"),
    Variable(("TMUX", "STY"), "set by tmux and screen; changes how the clipboard is reached"),
    Variable(("WAYLAND_DISPLAY", "DISPLAY"), "set by desktops; selects the clipboard programs"),
)  # fmt: skip

_NETWORK = (
    Variable(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"), "proxies for requests to providers, and hosts without a proxy; also in lower case"),
    Variable(("SSL_CERT_FILE", "SSL_CERT_DIR"), "CA certificates for requests to providers, instead of the system's"),
    Variable(("SSLKEYLOGFILE",), "file that receives TLS keys, for debugging"),
    Variable(("AWS_REGION",), "the region of models at Amazon Bedrock"),
)  # fmt: skip

_SHELLS = (
    Variable(("SHELL",), "the default shell of 'omniagent completion'"),
    Variable(("BASH_COMPLETION_USER_DIR",), "directory where bash-completion looks for the user's scripts"),
    Variable(("ZDOTDIR",), "directory of .zshrc"),
)  # fmt: skip


def variables() -> dict[str, list[Variable]]:
    """Return all variables by topic; those of settings and providers come from their tables."""
    return {
        "Settings": [*_settings(), *_OWN],
        "Keys and addresses of providers": list(_providers()),
        "Network": list(_NETWORK),
        "Directories": list(_HISTORY_PATHS),
        "Terminal": list(_TERMINAL),
        "Shells": list(_SHELLS),
        "Histories of other tools": list(_histories()),
    }


def _settings() -> Iterator[Variable]:
    from omniagent_cli.config.settings_table import SETTINGS

    for row in SETTINGS:
        if row.variables:
            yield Variable(row.variables, f"{row.key}: {row.help}")


def _providers() -> Iterator[Variable]:
    from omniagent_cli.agent.models.providers import PROVIDERS

    for provider in PROVIDERS.values():
        if provider.key_variables:
            yield Variable(provider.key_variables, f"key for {provider.title}")
        if provider.base_url_variable:
            yield Variable((provider.base_url_variable,), f"address of {provider.title}")


def _histories() -> Iterator[Variable]:
    from omniagent_cli.config.external_histories import HISTORY_PATHS

    for place in HISTORY_PATHS:
        if place.variable:
            yield Variable((place.variable,), f"where {place.format_name} keeps its conversations")
