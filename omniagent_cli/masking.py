"""Masking of secrets in text that is printed: passwords in URLs, keys among the arguments of a program."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"
# Both parts are greedy, because a password that was not percent-encoded may contain any character, "@" and "/" too.
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]+:(?://)?)([^/:][^:]*)?:.*@", re.IGNORECASE | re.DOTALL)
# Without "@", what is not a port may be a password whose host is missing.
_BAD_PORT = re.compile(
    r"^([a-z][a-z0-9+.-]+://[^/?#@:,\[\]]*:)(?!\d*(?:[/?#,]|$))[^@]*$", re.IGNORECASE
)
# libpq knows no fragment: "#" belongs to the value. https://www.postgresql.org/docs/current/libpq-connect.html
_PARAMETER = re.compile(r"([?&;])([^=&?]*)=[^&]*")
_SECRET_NAME = re.compile(r"pass|secret|token|key", re.IGNORECASE)
_ASSIGNED = re.compile(r"((?:key|token|secret|pass|auth)[^=\s]*=)\S+", re.IGNORECASE)
_OPTION = re.compile(r"--?\S*(?:key|token|secret|pass|auth)[^=\s]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """Return a URL with its secrets replaced by `MASK`: the password before the host, and secret parameters."""
    url = _USERINFO.sub(lambda found: f"{found[1]}{found[2] or ''}:{MASK}@", url)
    url = _BAD_PORT.sub(rf"\1{MASK}", url)
    return _PARAMETER.sub(_mask_parameter, url)


def mask_words(words: Iterable[str]) -> list[str]:
    """Return arguments with what looks like a secret replaced: ``--token X``, ``KEY=X``, known forms of keys."""
    shown, hidden = [], False
    for word in words:
        shown.append(MASK if hidden else _mask_word(word))
        hidden = _OPTION.fullmatch(word) is not None
    return shown


def _mask_parameter(found: re.Match[str]) -> str:
    from urllib.parse import unquote

    secret = _SECRET_NAME.search(unquote(found[2]))
    return f"{found[1]}{found[2]}={MASK}" if secret else found[0]


def _mask_word(word: str) -> str:
    from omniagent_cli.text.redact import redact

    masked = _ASSIGNED.sub(rf"\1{MASK}", mask_url(word))
    return masked if masked != word else redact(word, {})
