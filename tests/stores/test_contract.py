"""Every promise of a store, on every backend."""

from dataclasses import replace

import pytest

from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.postgres.store import PostgresStore
from omniagent_cli.stores.backends.redis.store import RedisStore
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
from omniagent_cli.stores.encryption.codec import with_compression, with_encryption
from omniagent_cli.testing import SharedPlaceContract, StoreCase, StoreContract
from tests.stores.postgres_server import place_url as postgres_url
from tests.stores.redis_server import place_url

CASES = {
    "memory": StoreCase(lambda place, **options: MemoryStore(**options), reopens=False),
    "sqlite": StoreCase(lambda place, **options: SqliteStore(place / "sessions.db", **options)),
    "file": StoreCase(lambda place, **options: JsonlFilesStore(place / "sessions", **options)),
    "redis": StoreCase(lambda place, **options: RedisStore(place_url(place), **options)),
    "postgres": StoreCase(lambda place, **options: PostgresStore(postgres_url(place), **options)),
}
KEY = bytes(range(32))
WRAPPERS = {
    "compressed": with_compression,
    "encrypted": lambda store: with_encryption(store, KEY),
    "both": lambda store: with_encryption(with_compression(store), KEY),
}


def wrapped(case, wrap):
    """Return the case of a backend inside a wrapper."""
    return replace(case, open=lambda place, **options: wrap(case.open(place, **options)))


CASES |= {
    f"{name}-{how}": wrapped(case, wrap)
    for name, case in list(CASES.items())
    for how, wrap in WRAPPERS.items()
}


class TestStores(StoreContract):
    @pytest.fixture(params=CASES.values(), ids=CASES)
    def case(self, request):
        return request.param


class TestSharedPlaces(SharedPlaceContract):
    @pytest.fixture(params=[name for name, case in CASES.items() if case.reopens])
    def case(self, request):
        return CASES[request.param]
