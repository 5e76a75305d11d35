"""Every environment variable that omniagent reads, with its meaning; a test compares this with the source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Variable(NamedTuple):
    """One variable, or several that mean the same: the first that is set is used."""

    names: tuple[str, ...]
    text: str


_OWN = (
    Variable(("OMNIAGENT_CONFIG",), "the settings file to read, instead of the usual one; as --config"),
    Variable(("OMNIAGENT_ENCRYPTION_KEY",), "the key or passphrase of an encrypted store, or keyring:NAME"),
    Variable(("OMNIAGENT_STORAGE_TYPE",), "older: sqlite, redis or memory; OMNIAGENT_STORE says the same in one"),
    Variable(("OMNIAGENT_STORAGE_PATH",), "older: the file of a SQLite store"),
    Variable(("OMNIAGENT_STORAGE_REDIS_URL",), "older: the URL of a Redis store"),
)  # fmt: skip

_PLACES = (
    Variable(("HOME",), "the home directory; without it, the system's user database knows"),
    Variable(("USERPROFILE",), "the home directory on Windows"),
    Variable(("XDG_CONFIG_HOME",), "where settings and the file of keys are, in omniagent/; ~/.config otherwise"),
    Variable(("XDG_DATA_HOME",), "where the default store is, in omniagent/; ~/.local/share otherwise"),
    Variable(("XDG_STATE_HOME",), "where what is remembered between runs is; ~/.local/state otherwise"),
    Variable(("XDG_CACHE_HOME",), "where what can be made again is; ~/.cache otherwise"),
    Variable(("PATH",), "where programs such as the pager and those of the clipboard are looked for"),
)  # fmt: skip

_TERMINAL = (
    Variable(("NO_COLOR",), "any text: no colours, unless --color says so; https://no-color.org"),
    Variable(("TERM",), "dumb or unknown: no control sequences, no colours, no pager"),
    Variable(("COLORFGBG",), "colours of the terminal, by which a light background is told from a dark one"),
    Variable(("COLUMNS",), "how many columns wide output is, instead of the terminal's own"),
    Variable(("LC_ALL", "LC_CTYPE", "LANG"), "C or POSIX: only ASCII is drawn"),
    Variable(("PAGER",), "program that shows long output while display.pager is auto; less otherwise"),
    Variable(("LESS", "LV"), "options of pagers; where LESS is not set, less gets those that fit our output"),
    Variable(("VISUAL", "EDITOR"), "program that 'omniagent config edit' and the chat open; vi otherwise"),
    Variable(("TMUX", "STY"), "set by tmux and screen, through which the clipboard is reached in their own way"),
    Variable(("WAYLAND_DISPLAY", "DISPLAY"), "set by desktops: which of their programs reach the clipboard"),
)  # fmt: skip

_NETWORK = (
    Variable(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"), "proxies on the way to providers, and who is asked without; in small letters too"),
    Variable(("SSL_CERT_FILE", "SSL_CERT_DIR"), "certificates that providers are checked with, instead of the system's"),
    Variable(("AWS_REGION",), "the region of models at Amazon Bedrock"),
)  # fmt: skip

_SHELLS = (
    Variable(("SHELL",), "the shell that 'omniagent completion' is about when none is named"),
    Variable(("BASH_COMPLETION_USER_DIR",), "where bash-completion looks for scripts of this person"),
    Variable(("ZDOTDIR",), "where zsh has its .zshrc"),
)  # fmt: skip


def variables() -> dict[str, list[Variable]]:
    """Return all variables by what they are about; those of settings and providers come from their tables."""
    return {
        "Settings": [*_settings(), *_OWN],
        "Keys and addresses of providers": list(_providers()),
        "Network": list(_NETWORK),
        "Where things are": list(_PLACES),
        "Terminal": list(_TERMINAL),
        "Shells": list(_SHELLS),
        "Other tools, where import looks": list(_histories()),
    }


def _settings() -> Iterator[Variable]:
    from omniagent_cli.config import SETTINGS

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
    from omniagent_cli.config.external_histories import PLACES

    for place in PLACES:
        if place.variable:
            yield Variable((place.variable,), f"where {place.format_name} keeps its conversations")
