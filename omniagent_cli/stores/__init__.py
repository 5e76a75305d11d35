"""Session stores: the names of the library, each loaded when it is first used."""

from __future__ import annotations

# Not from typing: completion imports this package to read session ids.
TYPE_CHECKING = False

_PUBLIC = {
    "BACKENDS": "omniagent_cli.stores.registry",
    "DEFAULT_SESSION_TTL": "omniagent_cli.stores.store",
    "DEFAULT_TRASH_TTL": "omniagent_cli.stores.store",
    "Passphrase": "omniagent_cli.stores.encryption.cipher",
    "SessionStore": "omniagent_cli.stores.store",
    "StoreLocation": "omniagent_cli.stores.location",
    "check_url": "omniagent_cli.stores.opener",
    "open_store": "omniagent_cli.stores.opener",
    "with_compression": "omniagent_cli.stores.store",
    "with_encryption": "omniagent_cli.stores.store",
}

if TYPE_CHECKING:
    from typing import Any

    from omniagent_cli.stores.encryption.cipher import Passphrase
    from omniagent_cli.stores.location import StoreLocation
    from omniagent_cli.stores.opener import check_url, open_store
    from omniagent_cli.stores.registry import BACKENDS
    from omniagent_cli.stores.store import (
        DEFAULT_SESSION_TTL,
        DEFAULT_TRASH_TTL,
        SessionStore,
        with_compression,
        with_encryption,
    )

__all__ = [
    "BACKENDS",
    "DEFAULT_SESSION_TTL",
    "DEFAULT_TRASH_TTL",
    "Passphrase",
    "SessionStore",
    "StoreLocation",
    "check_url",
    "open_store",
    "with_compression",
    "with_encryption",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value
