"""Names of servers' tools for models: 64 letters, digits, _ and - (https://platform.openai.com/docs/api-reference)."""

from __future__ import annotations

import re

_MAX_LENGTH = 64
_MAX_SERVER_LENGTH = 24
_HASH_LENGTH = 8
_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")


def prefix_of(server: str) -> str:
    """Return the prefix of the names of a server's tools.

    Tools of two servers never have the same name: a server name that is changed, or could be confused with another
    server's name and part of a tool's, gets a hash of the original appended.
    """
    clear = "__" not in server and not server.endswith("_")
    return f"{_legal_name(server, _MAX_SERVER_LENGTH, clear=clear)}__"


def tool_name(server: str, tool: str) -> str:
    """Return the name under which a tool is offered to a model: ``server__tool``."""
    prefix = prefix_of(server)
    return prefix + _legal_name(tool, _MAX_LENGTH - len(prefix), clear=True)


def _legal_name(name: str, longest: int, *, clear: bool) -> str:
    legal = _ILLEGAL.sub("_", name)
    if legal == name and clear and 0 < len(name) <= longest:
        return name
    from hashlib import sha256

    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    shortened = re.sub("__+", "_", legal)[: longest - _HASH_LENGTH - 1].strip("_")
    return f"{shortened}-{digest}"
