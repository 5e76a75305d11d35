"""Session ids made of the names that other programs give: ``ROOT/NAME/NAME``, with special characters escaped."""

from __future__ import annotations

from urllib.parse import quote


def joined(root: str, *names: str) -> str:
    """Return the id of these names, which is unique and otherwise readable; see `quoted`."""
    return "/".join((root, *map(quoted, names)))


def quoted(name: str, safe: str = "") -> str:
    """Return a name with slashes, percent and control characters escaped; `safe` ones stay."""
    return "".join(
        c if c in safe or (c.isprintable() and c not in "/%") else quote(c, safe="") for c in name
    )
