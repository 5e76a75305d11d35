"""The table of settings: one row each.

A ``*`` in a name is a part that the user chooses: an alias, a model, a store, a server. A row says whether a project
file that is not trusted may set it. ``display.pager`` may not, because it runs a program.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from omniagent_cli.config.setting_names import Key, join_key, split_key
from omniagent_cli.config.value_types import (
    Boolean,
    Choice,
    Duration,
    Integer,
    MultilineText,
    Number,
    Retention,
    Secret,
    Text,
    TextList,
    TimeZone,
    Url,
    ValueType,
)
from omniagent_cli.errors import ConfigError


class Untrusted(Enum):
    """Permission for an untrusted project file to change a setting."""

    NO = "no"
    YES = "yes"
    KNOWN_MODEL = "a model named in the user's file"


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        key: the name, with ``*`` for a part that the user chooses.
        kind: the type of its value.
        default: the default in the form of a file, or None.
        help: one line.
        variables: environment variables that set it; the first one wins.
        flag: the option that sets it, for error messages.
        untrusted: whether a project file that is not trusted may set it.
    """

    key: str
    kind: ValueType
    default: Any
    help: str
    variables: tuple[str, ...]
    flag: str
    untrusted: Untrusted


_MODEL = Text("a model such as openai:gpt-6.1-sol, or one of your aliases")
_STORE = Url("a store URL such as sqlite:///path/sessions.db, a path, or @NAME")
_HTTP = Url("a URL that starts with http:// or https://", r"https?://[^\s/?#]+\S*")
_DOLLARS = Number(0, 1_000_000)


def _row(
    key: str,
    kind: ValueType,
    text: str,
    *,
    default: Any = None,
    variables: tuple[str, ...] = (),
    flag: str = "",
    untrusted: Untrusted = Untrusted.NO,
) -> Setting:
    if not variables and "*" not in key:
        variables = ("OMNIAGENT_" + key.upper().replace(".", "_"),)
    return Setting(key, kind, default, text, variables, flag or f"flag for {key}", untrusted)


SETTINGS: tuple[Setting, ...] = (
    _row("store.url", _STORE, "store of the sessions; default: a SQLite file in your data directory", variables=("OMNIAGENT_STORE",), flag="--store"),
    _row("store.compress", Boolean(), "compress stored messages", default=False),
    _row("store.encrypt", Boolean(), "encrypt stored messages; default: true if a key is set"),
    _row("store.key_file", Text("a path"), "file that holds the encryption key", variables=("OMNIAGENT_ENCRYPTION_KEY_FILE",)),
    _row("stores.*.url", _STORE, "URL or path of the store @NAME"),
    _row("stores.*.password_env", Text("the name of an environment variable"), "environment variable that holds its password"),
    _row("stores.*.compress", Boolean(), "as store.compress, for this store"),
    _row("stores.*.encrypt", Boolean(), "as store.encrypt, for this store"),
    _row("stores.*.key_file", Text("a path"), "as store.key_file, for this store"),
    _row("sessions.enabled", Boolean(), "save conversations; false: each `ask` and chat is ephemeral", default=True, variables=("OMNIAGENT_SESSIONS_ENABLED",)),
    _row("sessions.ttl", Duration(), "time to live of new sessions after their last use", default="never", variables=("OMNIAGENT_SESSIONS_TTL",)),
    _row("sessions.trash_ttl", Retention(), "time that removed messages can be restored; 0 keeps none", default="30d"),
    _row("model", _MODEL, "default model", variables=("OMNIAGENT_MODEL", "OMNIAGENT_AGENT_MODEL"), flag="--model", untrusted=Untrusted.KNOWN_MODEL),
    _row("models.aliases.*", _MODEL, "alias of a model"),
    _row("agent.system_prompt", MultilineText(), "system prompt of every session", flag="--system"),
    _row("agent.provider", Text("a provider such as openai"), "provider of models that are named without one"),
    _row("agent.base_url", _HTTP, "address of an OpenAI-compatible server"),
    _row("agent.api", Choice("responses", "chat"), "protocol to try first; unset: responses for OpenAI, chat for other addresses"),
    _row("agent.temperature", Number(0, 2), "sampling temperature; default: that of the provider", flag="-o temperature"),
    _row("agent.max_tokens", Integer(1), "maximum length of an answer in tokens", flag="-o max_tokens"),
    _row("agent.seed", Integer(-(2**63), 2**63 - 1), "seed for reproducible answers", flag="-o seed"),
    _row("agent.reasoning_effort", Choice("none", "minimal", "low", "medium", "high", "xhigh"), "reasoning effort of the model", flag="-o reasoning_effort"),
    _row("agent.max_tool_rounds", Integer(0, 1000), "maximum rounds of tool calls in one turn", default=25),
    _row("agent.first_token_timeout", Duration(), "timeout for the first token of an answer", default="5m"),
    _row("agent.token_timeout", Duration(), "timeout for each further token of an answer", default="2m"),
    _row("window.max_messages", Integer(1), "maximum number of messages sent to the model", default=100, untrusted=Untrusted.YES),
    _row("window.max_tokens", Integer(1), "maximum number of tokens sent to the model", untrusted=Untrusted.YES),
    _row("window.compact_at", Number(0.1, 1), "share of the window, such as 0.8, at which older messages are compacted"),
    _row("ask.keep", Boolean(), "save each `ask` in a session of its own", default=True),
    _row("chat.editing_mode", Choice("emacs", "vi"), "key bindings of the prompt", default="emacs"),
    _row("chat.history", Boolean(), "save the history of the prompt", default=True),
    _row("chat.theme", Choice("auto", "light", "dark"), "colors of the chat", default="auto"),
    _row("chat.thinking", Choice("folded", "full", "hidden"), "display of a model's thinking", default="folded"),
    _row("chat.screen_reader", Boolean(), "plain output for screen readers", default=False),
    _row("display.color", Choice("auto", "always", "never"), "colors in output", default="auto", flag="--color", untrusted=Untrusted.YES),
    _row("display.pager", Text("auto, never or a command"), "pager for long output", default="auto"),
    _row("display.width", Integer(20), "maximum width of prose in columns; tables and code may be wider", default=100, untrusted=Untrusted.YES),
    _row("titles.model", _MODEL, "model that writes titles, or current; default: the first words of a session", untrusted=Untrusted.KNOWN_MODEL),
    _row("rollover.idle", Duration(), "idle time after which a new session starts", default="never"),
    _row("rollover.daily", Boolean(), "start a new session each day", default=False),
    _row("rollover.timezone", TimeZone(), "time zone of days; default: that of this machine"),
    _row("sync.auto", Text("a store, a directory, or ssh://HOST, as for `omniagent store sync`"), "store that a chat is synchronized with, in the background"),
    _row("sync.host", Text("a name"), "name of this machine in your messages; default: its host name if sync.auto is set"),
    _row("tools.enabled", Boolean(), "offer tools to the model", default=True),
    _row("tools.disabled", TextList(), "tools and skills that are never offered", default=()),
    _row("tools.allow", TextList(), "tools that may write or delete without approval", default=()),
    _row("prices.*.input", _DOLLARS, "dollars per million input tokens of this model"),
    _row("prices.*.output", _DOLLARS, "dollars per million output tokens"),
    _row("prices.*.cache_read", _DOLLARS, "dollars per million tokens read from the cache"),
    _row("prices.*.cache_write", _DOLLARS, "dollars per million tokens written to the cache"),
    _row("mcp.servers.*.command", TextList(or_line=True), "program of this MCP server"),
    _row("mcp.servers.*.args", TextList(), "its arguments"),
    _row("mcp.servers.*.env.*", Secret(), "a variable in its environment"),
    _row("mcp.servers.*.url", _HTTP, "URL of this MCP server, instead of a program"),
    _row("mcp.servers.*.headers.*", Secret(), "an HTTP header sent to it"),
    _row("mcp.servers.*.enabled", Boolean(), "offer its tools to the model", default=True),
    _row("mcp.servers.*.trust_hints", Boolean(), "run tools that it marks as read-only without approval", default=False),
    _row("mcp.servers.*.timeout", Duration(), "timeout of a call", default="60s"),
    _row("mcp.servers.*.start_timeout", Duration(), "timeout of its start", default="30s"),
)  # fmt: skip

_EXACT: dict[Key, Setting] = {
    tuple(row.key.split(".")): row for row in SETTINGS if "*" not in row.key
}
_PATTERNS: dict[Key, Setting] = {
    tuple(row.key.split(".")): row for row in SETTINGS if "*" in row.key
}


def find(key: Key) -> Setting | None:
    """Return the row of a name, or None."""
    if row := _EXACT.get(key):
        return row
    return next((row for pattern, row in _PATTERNS.items() if _fits(key, pattern)), None)


def require(name: str) -> tuple[Key, Setting]:
    """Return the key and the table row of a setting.

    Raises:
        ConfigError: the setting does not exist; the message has close matches.
    """
    key = split_key(name)
    if row := find(key):
        return key, row
    raise ConfigError(unknown(key))


@lru_cache(maxsize=256)
def is_table(key: Key) -> bool:
    """Return True if there are settings below a name."""
    return any(
        len(pattern) > len(key) and _fits(key, pattern[: len(key)])
        for pattern in (*_EXACT, *_PATTERNS)
    )


def unknown(key: Key) -> str:
    """Return the message for an unknown setting, with close matches."""
    name = join_key(key)
    if is_table(key):
        names = [join_key(full) for full in _below(key)]
        return f"{name} is a table; name one of its settings: {', '.join(names)}"
    for length in range(1, len(key)):
        if find(key[:length]):
            return f"unknown setting {name}: {join_key(key[:length])} is a value, not a table"
    from difflib import get_close_matches

    if close := get_close_matches(name, _candidates(key), n=2, cutoff=0.75):
        return f"unknown setting {name}; did you mean {' or '.join(close)}?"
    return f"unknown setting {name}; run 'omniagent config list' to see all settings"


def _fits(key: Key, pattern: Key) -> bool:
    return len(key) == len(pattern) and all(
        wanted in ("*", part) for part, wanted in zip(key, pattern, strict=True)
    )


def _below(key: Key) -> list[Key]:
    """Return the settings below a table, with the parts of the user filled in."""
    return [
        key + tuple(part if part != "*" else "NAME" for part in pattern[len(key) :])
        for pattern in (*_EXACT, *_PATTERNS)
        if len(pattern) > len(key) and _fits(key, pattern[: len(key)])
    ]


def _candidates(key: Key) -> list[str]:
    """Return all names, with the parts of the user in place of ``*``."""
    exact = [join_key(full) for full in _EXACT]
    filled = (
        tuple(part if wanted == "*" else wanted for part, wanted in zip(key, pattern, strict=True))
        for pattern in _PATTERNS
        if len(pattern) == len(key)
    )
    return exact + [join_key(full) for full in filled]
