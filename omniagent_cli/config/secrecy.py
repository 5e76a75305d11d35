"""What must not be printed: passwords in URLs."""

from __future__ import annotations

import re

MASK = "***"
# Greedy up to the last "@": a password may hold any character when nobody encoded it.
_USERINFO = re.compile(r"^([a-z][a-z0-9+.-]*://)([^/@:][^@:/]*)?:(.*)@", re.IGNORECASE | re.DOTALL)
_QUERY = re.compile(r"([?&][^=&#]*(?:pass|secret|token|key)[^=&#]*=)[^&#]*", re.IGNORECASE)


def mask_url(url: str) -> str:
    """Return the URL with its password replaced, whether it stands before the host or in the query."""
    url = _USERINFO.sub(lambda found: f"{found[1]}{found[2] or ''}:{MASK}@", url)
    return _QUERY.sub(lambda found: found[1] + MASK, url)
