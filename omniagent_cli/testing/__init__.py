"""Test support for backends, agents and skills: the store contract, a fake clock and a scripted model."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omniagent_cli.testing.clock import FakeClock
    from omniagent_cli.testing.contract import (
        MakeStore,
        SharedPlaceContract,
        StoreCase,
        StoreContract,
    )

_HOME = {
    "FakeClock": "clock",
    "MakeStore": "contract",
    "SharedPlaceContract": "contract",
    "StoreCase": "contract",
    "StoreContract": "contract",
}

__all__ = ["FakeClock", "MakeStore", "SharedPlaceContract", "StoreCase", "StoreContract"]


def __getattr__(name: str) -> Any:
    # Lazy: the contract needs pytest and hypothesis, the scripted model does not.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
