"""The asynchronous interface of a store: the operations of `SessionStore` as coroutines.

Each call runs in a thread of the event loop's default executor, so that a slow disk or server never blocks the loop.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import Executor
from itertools import islice
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar

from omniagent_cli.models import SessionSummary
from omniagent_cli.stores.backend import CHUNK
from omniagent_cli.stores.events import Handler
from omniagent_cli.stores.operations.append import AppendOperations
from omniagent_cli.stores.operations.fork import ForkOperations
from omniagent_cli.stores.operations.header import HeaderOperations
from omniagent_cli.stores.operations.maintenance import MaintenanceOperations
from omniagent_cli.stores.operations.read import ReadOperations, SessionPage
from omniagent_cli.stores.operations.records import RecordOperations
from omniagent_cli.stores.operations.remove import RemoveOperations
from omniagent_cli.stores.operations.rollover import RolloverOperations
from omniagent_cli.stores.operations.save import SaveOperations
from omniagent_cli.stores.operations.search import SearchOperations
from omniagent_cli.stores.operations.stage import StageOperations
from omniagent_cli.stores.operations.trash import TrashOperations
from omniagent_cli.stores.operations.undo import UndoOperations
from omniagent_cli.stores.store_base import StoreBase

if TYPE_CHECKING:
    from omniagent_cli.stores.sync.driver import SyncReport

P = ParamSpec("P")
T = TypeVar("T")
S_co = TypeVar("S_co", bound=MaintenanceOperations, covariant=True)

_PAGE = 100


async def run_to_end(work: Callable[[], T], executor: Executor | None = None) -> T:
    """Run work in a thread; a canceled caller waits for its end before it is canceled.

    Otherwise the caller could not know whether a change was stored.

    Args:
        work: the call.
        executor: where it runs; None for the default executor of the loop.
    """
    done = asyncio.get_running_loop().run_in_executor(executor, work)
    canceled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait({done})
        except asyncio.CancelledError as error:
            canceled = canceled or error
    if canceled is not None:
        done.exception()  # mark the exception as retrieved
        raise canceled
    return done.result()


def _awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[AsyncStore[Any], P], Coroutine[Any, Any, T]]:
    """Return a coroutine function that calls the method of the same name of the store, in a thread."""

    @functools.wraps(method)
    async def call(self: AsyncStore[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        # By name, because a backend may override the method.
        bound: Callable[P, T] = getattr(self.store, method.__name__)
        return await run_to_end(lambda: bound(*args, **kwargs))

    return call


def _iterated(
    method: Callable[Concatenate[Any, P], Iterator[T]], at_once: int
) -> Callable[Concatenate[AsyncStore[Any], P], AsyncIterator[T]]:
    """Return a method that yields what the method of the same name of the store does, `at_once` items per thread call."""

    @functools.wraps(method)
    async def iterate(
        self: AsyncStore[Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncIterator[T]:
        items: Iterator[T] = getattr(self.store, method.__name__)(*args, **kwargs)
        while chunk := await run_to_end(lambda: list(islice(items, at_once))):
            for item in chunk:
                yield item

    return iterate


class SessionListing:
    """Listing of `AsyncStore.list`: ``await`` returns one page, ``async for`` yields all summaries, read page by page."""

    def __init__(self, read: Callable[..., SessionPage], options: dict[str, Any]) -> None:
        self._read = read
        self._options = options

    def __await__(self) -> Generator[Any, None, SessionPage]:
        return run_to_end(lambda: self._read(**self._options)).__await__()

    async def __aiter__(self) -> AsyncIterator[SessionSummary]:
        options, damaged = {**self._options}, self._options.get("damaged")
        left: int | None = options.get("limit")
        while True:
            options["limit"] = _PAGE if left is None else min(left, _PAGE)
            if damaged is not None:
                options["damaged"] = []  # each page clears it
            page = await run_to_end(lambda: self._read(**options))
            if damaged is not None:
                damaged.extend(options["damaged"])
            for summary in page:
                yield summary
            left = None if left is None else left - len(page)
            if page.next_cursor is None or left == 0:
                return
            options["cursor"] = page.next_cursor


def _listed(
    method: Callable[Concatenate[Any, P], SessionPage],
) -> Callable[Concatenate[AsyncStore[Any], P], SessionListing]:
    """Return a method with the options of the store's `list`, all by keyword."""

    @functools.wraps(method)
    def call(self: AsyncStore[Any], /, *args: P.args, **options: P.kwargs) -> SessionListing:
        return SessionListing(functools.partial(self.store.list, *args), options)

    return call


class AsyncStore(Generic[S_co]):
    """A store for asynchronous code: the names and arguments of `SessionStore`, awaited.

    A call that has begun always runs to its end; if it is canceled, the cancellation is raised after that, so that a
    change is stored whole or not at all. Concurrent calls run in no particular order. Event handlers and ``progress``
    are called in the thread of the call. ``async with`` closes the store.

    Args:
        store: the store, which may also be used directly.
    """

    def __init__(self, store: S_co) -> None:
        self.store = store

    @property
    def url(self) -> str:
        """The store's URL, without any password."""
        return self.store.url

    def on(self, event: str, handler: Handler) -> Callable[[], None]:
        """Call the handler after each event of that name; see `SessionStore.on`."""
        return self.store.on(event, handler)

    async def __aenter__(self) -> Self:
        self.store.__enter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def sync(self, other: StoreBase, **options: Any) -> SyncReport:
        """Bring this store and another one to the same content; see `SessionStore.sync`."""
        return await run_to_end(lambda: self.store.sync(other, **options))

    close = _awaited(StoreBase.close)
    encryption = _awaited(StoreBase.encryption)
    key_matches = _awaited(StoreBase.key_matches)
    check_key = _awaited(StoreBase.check_key)
    unlock = _awaited(StoreBase.unlock)
    known_backups = _awaited(StoreBase.known_backups)
    outdated_backups = _awaited(StoreBase.outdated_backups)
    encrypt = _awaited(MaintenanceOperations.encrypt)
    rekey = _awaited(MaintenanceOperations.rekey)
    check = _awaited(MaintenanceOperations.check)
    info = _awaited(MaintenanceOperations.info)
    get = _awaited(ReadOperations.get)
    header = _awaited(ReadOperations.header)
    summary = _awaited(ReadOperations.summary)
    exists = _awaited(ReadOperations.exists)
    current_id = _awaited(ReadOperations.current_id)
    count_messages = _awaited(ReadOperations.count_messages)
    messages = _awaited(ReadOperations.messages)
    iter_messages = _iterated(ReadOperations.iter_messages, CHUNK)
    get_metadata = _awaited(ReadOperations.get_metadata)
    get_state = _awaited(ReadOperations.get_state)
    count = _awaited(ReadOperations.count)
    search = _awaited(SearchOperations.search)
    get_or_create = _awaited(AppendOperations.get_or_create)
    append = _awaited(AppendOperations.append)
    write = _awaited(AppendOperations.write)
    checkpoint = _awaited(AppendOperations.checkpoint)
    set_message_status = _awaited(AppendOperations.set_message_status)
    save = _awaited(SaveOperations.save)
    rename = _awaited(HeaderOperations.rename)
    set_title = _awaited(HeaderOperations.set_title)
    set_model = _awaited(HeaderOperations.set_model)
    touch = _awaited(HeaderOperations.touch)
    set_ttl = _awaited(HeaderOperations.set_ttl)
    set_metadata = _awaited(HeaderOperations.set_metadata)
    set_state = _awaited(HeaderOperations.set_state)
    delete_metadata = _awaited(HeaderOperations.delete_metadata)
    delete_state = _awaited(HeaderOperations.delete_state)
    tag = _awaited(HeaderOperations.tag)
    attachments = _awaited(RecordOperations.attachments)
    attachment = _awaited(RecordOperations.attachment)
    last_summary = _awaited(RecordOperations.last_summary)
    iter_records = _iterated(RecordOperations.iter_records, 1)
    put_attachment = _awaited(RecordOperations.put_attachment)
    put_summary = _awaited(RecordOperations.put_summary)
    trim = _awaited(RemoveOperations.trim)
    clear = _awaited(RemoveOperations.clear)
    delete = _awaited(RemoveOperations.delete)
    purge_expired = _awaited(RemoveOperations.purge_expired)
    count_expired = _awaited(RemoveOperations.count_expired)
    truncate_from = _awaited(UndoOperations.truncate_from)
    pop = _awaited(UndoOperations.pop)
    remove_turn = _awaited(UndoOperations.remove_turn)
    trash = _awaited(TrashOperations.trash)
    restore = _awaited(TrashOperations.restore)
    empty_trash = _awaited(TrashOperations.empty_trash)
    roll_over = _awaited(RolloverOperations.roll_over)
    stage = _awaited(StageOperations.stage)
    stage_messages = _awaited(StageOperations.stage_messages)
    stage_record = _awaited(StageOperations.stage_record)
    publish = _awaited(StageOperations.publish)
    append_staged = _awaited(StageOperations.append_staged)
    discard_staged = _awaited(StageOperations.discard_staged)
    fork = _awaited(ForkOperations.fork)
    list = _listed(ReadOperations.list)
