"""The store contract: tests of every store guarantee, for any backend, wrapper or stack of both.

A test module defines a table of cases and two classes; its ``conftest.py`` calls
``pytest.register_assert_rewrite("omniagent_cli.testing")`` for detailed assertion messages::

    CASES = {"mine": StoreCase(lambda place, **options: MyStore(place / "data", **options))}

    @pytest.fixture(params=CASES.values(), ids=CASES)
    def case(request): return request.param

    class TestStores(StoreContract): ...
    class TestSharedPlaces(SharedPlaceContract): ...   # cases that can be opened more than once
"""

from __future__ import annotations

from omniagent_cli.testing.clock import FakeClock
from omniagent_cli.testing.contract_base import MakeStore, StoreCase
from omniagent_cli.testing.contract_companions import CompanionsContract
from omniagent_cli.testing.contract_expiry import ExpiryContract
from omniagent_cli.testing.contract_header import (
    EventsContract,
    NamesContract,
    RecordsContract,
    ValuesContract,
)
from omniagent_cli.testing.contract_listing import IdsContract, ListingContract
from omniagent_cli.testing.contract_model import ModelContract
from omniagent_cli.testing.contract_reading import ReadingContract
from omniagent_cli.testing.contract_rollover import RolloverContract
from omniagent_cli.testing.contract_saving import SavingContract
from omniagent_cli.testing.contract_search import SearchContract
from omniagent_cli.testing.contract_sharing import SharedPlaceContract
from omniagent_cli.testing.contract_times import TimesContract
from omniagent_cli.testing.contract_trash import RemovalContract, TrashContract
from omniagent_cli.testing.contract_turns import CheckpointContract, StagingContract
from omniagent_cli.testing.contract_writing import WritingContract

__all__ = ["FakeClock", "MakeStore", "SharedPlaceContract", "StoreCase", "StoreContract"]


class StoreContract(
    ReadingContract,
    WritingContract,
    SavingContract,
    RemovalContract,
    ListingContract,
    IdsContract,
    SearchContract,
    ExpiryContract,
    TimesContract,
    TrashContract,
    CompanionsContract,
    RolloverContract,
    CheckpointContract,
    StagingContract,
    ValuesContract,
    NamesContract,
    RecordsContract,
    EventsContract,
    ModelContract,
):
    """Every guarantee of a store that a single handle can show."""
