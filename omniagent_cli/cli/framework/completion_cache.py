"""The ids that TAB offers of a store it cannot ask in time: noted after each command that used the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from omniagent_cli.errors import OmniAgentError

if TYPE_CHECKING:
    from omniagent_cli.stores import SessionStore

_KEPT = 500
_READ_BY_TAB = ("sqlite", "file", "memory", "conversations")
"""Backends whose files TAB reads itself, or that hold nothing for another process."""


def keep_ids(store: SessionStore, url: str, environ: Mapping[str, str]) -> None:
    """Note the newest sessions of a store on a server in a private file; titles only of one that is not encrypted.

    It is a convenience after the work was done: a server that is gone by now is no error.
    """
    if store.backend in _READ_BY_TAB:
        return
    from omniagent_cli.complete.store_pointer import write_ids

    try:
        secret = store.encryption() is not None
        page = store.list(limit=_KEPT)
    except OmniAgentError:
        return
    write_ids(url, ((one.id, "" if secret else one.title) for one in page), environ)
