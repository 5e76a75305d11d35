"""What must not be printed: passwords in URLs, keys among the arguments of a program."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "***"
# Greedy up to the last "@": a password may hold any character when nobody encoded it.
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)([^/@:][^@:/]*)?:(.*)@", re.IGNORECASE | re.DOTALL)
_QUERY = re.compile(r"([?&][^=&#]*(?:pass|secret|token|key)[^=&#]*=)[^&#]*", re.IGNORECASE)
_ASSIGNED = re.compile(r"((?:key|token|secret|pass|auth)[^=\s]*=)\S+", re.IGNORECASE)
_OPTION = re.compile(r"--?\S*(?:key|token|secret|pass|auth)[^=\s]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """Return the URL with its password replaced, whether it stands before the host or in the query."""
    url = _USERINFO.sub(lambda found: f"{found[1]}{found[2] or ''}:{MASK}@", url)
    return _QUERY.sub(lambda found: found[1] + MASK, url)


def mask_words(words: Iterable[str]) -> list[str]:
    """Return arguments with what looks like a secret replaced: ``--token X``, ``KEY=X``, known forms of keys."""
    shown, hidden = [], False
    for word in words:
        shown.append(MASK if hidden else _mask_word(word))
        hidden = _OPTION.fullmatch(word) is not None
    return shown


def _mask_word(word: str) -> str:
    from omniagent_cli.text.redact import redact

    masked = _ASSIGNED.sub(rf"\1{MASK}", mask_url(word))
    return masked if masked != word else redact(word, {})
