"""Names of tools: the characters that providers accept, and the tool that a misspelled name refers to."""

from __future__ import annotations

import re
from collections.abc import Collection

TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""The names that every provider accepts: https://platform.openai.com/docs/api-reference/chat/create, `tools`."""

_LENGTH = 64
_CHANNEL = re.compile(r"<\|.*", re.DOTALL)
"""The control tokens that gpt-oss appends to a name: ``sessions_list<|channel|>commentary``."""

_NAMESPACE = re.compile(r"(?:functions?|tools?|default_api)\s*[.:/]\s*", re.IGNORECASE)
_COUNTER = re.compile(r":\d+$")
"""The number of a call in the ids of Kimi, which are returned as names: ``functions.sessions_list:0``."""

_ILLEGAL = re.compile(r"[^a-zA-Z0-9_-]")


def resolve_tool_name(name: str, known: Collection[str]) -> str | None:
    """Return the known tool that a name refers to; None if none or more than one matches.

    Whitespace, control tokens, a namespace and a counter are ignored; then illegal characters, then case.
    """
    if name in known:
        return name
    bare = _bare(name)
    if bare in known:
        return bare
    form = _ILLEGAL.sub("_", bare)
    matches = [tool for tool in known if tool.casefold() == form.casefold()]
    return form if form in known else matches[0] if len(matches) == 1 else None


def legal_tool_name(name: str) -> str:
    """Return a name that every provider accepts; a legal name is returned unchanged."""
    if TOOL_NAME.fullmatch(name):
        return name
    return _ILLEGAL.sub("_", _bare(name))[:_LENGTH] or "unnamed"


def _bare(name: str) -> str:
    name = _CHANNEL.sub("", name).strip()
    return _COUNTER.sub("", _NAMESPACE.sub("", name, count=1) if _NAMESPACE.match(name) else name)
