"""Every promise of a store, on every backend."""

from dataclasses import replace

import pytest

from omniagent_cli.stores import with_compression, with_encryption
from omniagent_cli.stores.backends.jsonl.store import JsonlFilesStore
from omniagent_cli.stores.backends.memory import MemoryStore
from omniagent_cli.stores.backends.postgres.store import PostgresStore
from omniagent_cli.stores.backends.redis.store import RedisStore
from omniagent_cli.stores.backends.sqlite.store import SqliteStore
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


def encrypted(store):
    return with_encryption(store, KEY)


def both(store):
    return with_encryption(with_compression(store), KEY)


def wrapped(case, wrap):
    """Return the case of a backend inside a wrapper."""
    return replace(case, open=lambda place, **options: wrap(case.open(place, **options)))


# Encryption changes what a backend can search, move and replace, so each one is tested with it. Payloads are opaque
# bytes to a backend: compression, and both wrappers, behave on every backend as they do on SQLite.
CASES |= {f"{name}-encrypted": wrapped(case, encrypted) for name, case in CASES.items()}
CASES["sqlite-both"] = wrapped(CASES["sqlite"], both)


class TestStores(StoreContract):
    @pytest.fixture(params=CASES.values(), ids=CASES)
    def case(self, request):
        return request.param


class TestSharedPlaces(SharedPlaceContract):
    @pytest.fixture(params=[name for name, case in CASES.items() if case.reopens])
    def case(self, request):
        return CASES[request.param]
