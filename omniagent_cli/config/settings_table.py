"""Every setting there is: one row each, and the only list of their names.

A ``*`` in a name stands for a part the person chooses: an alias, a model, a store, a server. A row says whether a
project file that nobody trusted yet may set it. ``display.pager`` may not, though it is display: it runs a program.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from omniagent_cli.config.setting_names import Key, join_key, split_key
from omniagent_cli.config.value_types import (
    Address,
    Boolean,
    Choice,
    Duration,
    Hidden,
    Integer,
    Kind,
    Line,
    Lines,
    Number,
    Prose,
    Retention,
    Zone,
)
from omniagent_cli.errors import ConfigError


class Untrusted(Enum):
    """What a project file may do with a setting before its owner trusts it."""

    NO = "no"
    YES = "yes"
    KNOWN_MODEL = "a model the user's file names"


class Setting(NamedTuple):
    """One row of the table.

    Attributes:
        key: the name, with ``*`` for a part the person chooses.
        kind: what it may hold.
        default: in the form a file would give it; None when there is none.
        help: one line.
        variables: environment variables that set it, the first that is set wins.
        flag: how the command line sets it, for error messages.
        untrusted: whether a project file nobody trusted may set it.
    """

    key: str
    kind: Kind
    default: Any
    help: str
    variables: tuple[str, ...]
    flag: str
    untrusted: Untrusted


_MODEL = Line("a model such as openai:gpt-6.1-sol, or one of your aliases")
_STORE = Address("a store URL such as sqlite:///path/sessions.db, a path, or @NAME")
_HTTP = Address("a URL that starts with http:// or https://", r"https?://[^\s/?#]+\S*")
_DOLLARS = Number(0, 1_000_000)


def _row(
    key: str,
    kind: Kind,
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
    _row(
        "store.url",
        _STORE,
        "where sessions live; without it, a SQLite file in your data directory",
        variables=("OMNIAGENT_STORE",),
        flag="--store",
    ),
    _row("store.compress", Boolean(), "compress what is stored", default=False),
    _row("store.encrypt", Boolean(), "encrypt what is stored", default=False),
    _row(
        "store.key_file",
        Line("a path"),
        "file that holds the encryption key",
        variables=("OMNIAGENT_ENCRYPTION_KEY_FILE",),
    ),
    _row("stores.*.url", _STORE, "the store behind --store @NAME"),
    _row(
        "stores.*.password_env",
        Line("the name of an environment variable"),
        "environment variable that holds its password",
    ),
    _row("stores.*.compress", Boolean(), "as store.compress, for this store"),
    _row("stores.*.encrypt", Boolean(), "as store.encrypt, for this store"),
    _row("stores.*.key_file", Line("a path"), "as store.key_file, for this store"),
    _row(
        "sessions.ttl",
        Duration(),
        "how long after its last use a new session expires",
        default="never",
    ),
    _row(
        "sessions.trash_ttl",
        Retention(),
        "how long removed messages can be restored; 0 keeps none",
        default="30d",
    ),
    _row(
        "model",
        _MODEL,
        "the model to talk to",
        variables=("OMNIAGENT_MODEL", "OMNIAGENT_AGENT_MODEL"),
        flag="--model",
        untrusted=Untrusted.KNOWN_MODEL,
    ),
    _row("models.aliases.*", _MODEL, "a short name for a model"),
    _row("agent.system_prompt", Prose(), "what every conversation starts with", flag="--system"),
    _row(
        "agent.provider",
        Line("a provider such as openai"),
        "provider of a model named without one",
    ),
    _row("agent.base_url", _HTTP, "address of an OpenAI-compatible server"),
    _row(
        "agent.api",
        Choice("responses", "chat"),
        "protocol to try first; unset: responses for OpenAI, chat for other addresses",
    ),
    _row(
        "agent.temperature",
        Number(0, 2),
        "sampling temperature; unset leaves it to the provider",
        flag="-o temperature",
    ),
    _row("agent.max_tokens", Integer(1), "longest answer, in tokens", flag="-o max_tokens"),
    _row(
        "agent.seed",
        Integer(-(2**63), 2**63 - 1),
        "seed for answers that can be repeated",
        flag="-o seed",
    ),
    _row(
        "agent.reasoning_effort",
        Choice("none", "minimal", "low", "medium", "high", "xhigh"),
        "how long a reasoning model may think",
        flag="-o reasoning_effort",
    ),
    _row(
        "agent.max_tool_rounds",
        Integer(0, 1000),
        "how often tools may be called in one turn",
        default=25,
    ),
    _row(
        "agent.first_token_timeout",
        Duration(),
        "how long to wait for an answer to begin",
        default="5m",
    ),
    _row(
        "agent.token_timeout", Duration(), "how long to wait for an answer to go on", default="2m"
    ),
    _row(
        "window.max_messages",
        Integer(1),
        "how many messages are sent to the model",
        default=100,
        untrusted=Untrusted.YES,
    ),
    _row(
        "window.max_tokens",
        Integer(1),
        "how many tokens of messages are sent to the model",
        untrusted=Untrusted.YES,
    ),
    _row(
        "window.compact_at",
        Number(0.1, 1),
        "sum up older messages when the window is full to this share, such as 0.8",
    ),
    _row("ask.keep", Boolean(), "keep what `ask` says in a session of its own", default=True),
    _row("chat.editing_mode", Choice("emacs", "vi"), "keys of the prompt", default="emacs"),
    _row("chat.history", Boolean(), "remember what was typed at the prompt", default=True),
    _row("chat.theme", Choice("auto", "light", "dark"), "colours of the chat", default="auto"),
    _row(
        "chat.thinking",
        Choice("folded", "full", "hidden"),
        "how much of a model's thinking is shown",
        default="folded",
    ),
    _row(
        "chat.screen_reader",
        Boolean(),
        "plain output that a screen reader can follow",
        default=False,
    ),
    _row(
        "display.color",
        Choice("auto", "always", "never"),
        "whether output has colours",
        default="auto",
        flag="--color",
        untrusted=Untrusted.YES,
    ),
    _row(
        "display.pager",
        Line("auto, never or a command"),
        "program that shows long output",
        default="auto",
    ),
    _row(
        "titles.model",
        _MODEL,
        "model that names sessions, or current; without it, their first words do",
        untrusted=Untrusted.KNOWN_MODEL,
    ),
    _row(
        "rollover.idle",
        Duration(),
        "start a new session after this long without a message",
        default="never",
    ),
    _row("rollover.daily", Boolean(), "start a new session each day", default=False),
    _row("rollover.timezone", Zone(), "where days begin; without it, where this machine is"),
    _row("tools.enabled", Boolean(), "offer tools to the model", default=True),
    _row("tools.disabled", Lines(), "tools and skills that are never offered", default=()),
    _row("tools.allow", Lines(), "tools that may write or destroy without asking", default=()),
    _row("prices.*.input", _DOLLARS, "dollars for a million tokens sent to this model"),
    _row("prices.*.output", _DOLLARS, "dollars for a million tokens it answers"),
    _row("prices.*.cache_read", _DOLLARS, "dollars for a million tokens read from its cache"),
    _row("prices.*.cache_write", _DOLLARS, "dollars for a million tokens written to its cache"),
    _row("mcp.servers.*.command", Lines(or_line=True), "program of this MCP server"),
    _row("mcp.servers.*.args", Lines(), "its arguments"),
    _row("mcp.servers.*.env.*", Hidden(), "a variable in its environment"),
    _row("mcp.servers.*.url", _HTTP, "address of this MCP server, instead of a program"),
    _row("mcp.servers.*.headers.*", Hidden(), "an HTTP header sent to it"),
    _row("mcp.servers.*.enabled", Boolean(), "whether its tools are offered", default=True),
    _row(
        "mcp.servers.*.trust_hints",
        Boolean(),
        "believe it when it says that a tool only reads, and do not ask",
        default=False,
    ),
    _row("mcp.servers.*.timeout", Duration(), "how long a call may take", default="60s"),
    _row(
        "mcp.servers.*.start_timeout",
        Duration(),
        "how long it may take until its tools are known",
        default="30s",
    ),
)

_EXACT: dict[Key, Setting] = {
    tuple(row.key.split(".")): row for row in SETTINGS if "*" not in row.key
}
_PATTERNS: dict[Key, Setting] = {
    tuple(row.key.split(".")): row for row in SETTINGS if "*" in row.key
}


def find(key: Key) -> Setting | None:
    """Return the row of a name, or None when there is no such setting."""
    if row := _EXACT.get(key):
        return row
    return next((row for pattern, row in _PATTERNS.items() if _fits(key, pattern)), None)


def require(name: str) -> tuple[Key, Setting]:
    """Return the parts and the row of a name a person gave.

    Raises:
        ConfigError: there is no such setting; the message lists what was probably meant.
    """
    key = split_key(name)
    if row := find(key):
        return key, row
    raise ConfigError(unknown(key))


@lru_cache(maxsize=256)
def is_table(key: Key) -> bool:
    """Tell whether settings begin with this name."""
    return any(
        len(pattern) > len(key) and _fits(key, pattern[: len(key)])
        for pattern in (*_EXACT, *_PATTERNS)
    )


def unknown(key: Key) -> str:
    """Say that there is no such setting, with what was probably meant."""
    name = join_key(key)
    if is_table(key):
        names = [join_key(full) for full in _below(key)]
        return f"{name} is a table; name one of its settings: {', '.join(names)}"
    for length in range(1, len(key)):
        if find(key[:length]):
            return f"{name} is no setting: {join_key(key[:length])} holds a value, not a table"
    from difflib import get_close_matches

    if close := get_close_matches(name, _candidates(key), n=2, cutoff=0.75):
        return f"{name} is no setting; did you mean {' or '.join(close)}?"
    return f"{name} is no setting; 'omniagent config list' shows those there are"


def _fits(key: Key, pattern: Key) -> bool:
    return len(key) == len(pattern) and all(
        wanted in ("*", part) for part, wanted in zip(key, pattern, strict=True)
    )


def _below(key: Key) -> list[Key]:
    """Return the settings under a table, with the person's own parts filled in."""
    return [
        key + tuple(part if part != "*" else "NAME" for part in pattern[len(key) :])
        for pattern in (*_EXACT, *_PATTERNS)
        if len(pattern) > len(key) and _fits(key, pattern[: len(key)])
    ]


def _candidates(key: Key) -> list[str]:
    """Return all names, with the person's own parts where a name has a free part."""
    exact = [join_key(full) for full in _EXACT]
    filled = (
        tuple(part if wanted == "*" else wanted for part, wanted in zip(key, pattern, strict=True))
        for pattern in _PATTERNS
        if len(pattern) == len(key)
    )
    return exact + [join_key(full) for full in filled]
