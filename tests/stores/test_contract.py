"""Every promise of a store, on every backend."""

import pytest

from omniagent_cli.stores.jsonl_files import JsonlFilesStore
from omniagent_cli.stores.memory import MemoryStore
from omniagent_cli.stores.sqlite import SqliteStore
from omniagent_cli.testing import SharedPlaceContract, StoreCase, StoreContract

CASES = {
    "memory": StoreCase(lambda place, **options: MemoryStore(**options), reopens=False),
    "sqlite": StoreCase(lambda place, **options: SqliteStore(place / "sessions.db", **options)),
    "file": StoreCase(lambda place, **options: JsonlFilesStore(place / "sessions", **options)),
}


class TestStores(StoreContract):
    @pytest.fixture(params=CASES.values(), ids=CASES)
    def case(self, request):
        return request.param


class TestSharedPlaces(SharedPlaceContract):
    @pytest.fixture(params=[name for name, case in CASES.items() if case.reopens])
    def case(self, request):
        return CASES[request.param]
