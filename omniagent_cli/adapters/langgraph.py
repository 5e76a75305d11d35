"""Checkpoint saver of LangGraph over any store.

The interface is ``langgraph.checkpoint.base.BaseCheckpointSaver`` (checked with langgraph-checkpoint 4.0 and 4.3). A
thread is one session. A checkpoint, and each batch of pending writes, is one message without text that keeps the
serialized bytes; the messages of the graph's ``messages`` channel are stored beside it once, so that listing, search
and exports see them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

try:
    from langgraph.checkpoint.base import (
        WRITES_IDX_MAP,
        BaseCheckpointSaver,
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        CheckpointTuple,
        get_checkpoint_id,
        get_checkpoint_metadata,
    )
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "LangGraph is not installed; install it with: pip install 'omniagent-cli[langgraph]'",
        name=missing.name,
    ) from missing

from omniagent_cli.adapters.session_names import joined
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.json_format import dump
from omniagent_cli.models import Message
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.aio import run_to_end

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

ENTRY = "langgraph"
"""The key in a message's ``extra``: a checkpoint, a batch of writes, or the id of a message of the graph."""

ROOT = "langgraph"
"""First part of the session ids: ``langgraph/THREAD``."""

_ROLES = {"human": "user", "ai": "assistant", "tool": "tool", "system": "system"}

Place = tuple[str, str]
"""A namespace and the id of a checkpoint in it."""


@dataclass(slots=True)
class _Thread:
    """Index of a stored thread: the positions of its entries up to `position`."""

    uid: str = ""
    position: int = -1
    checkpoints: dict[Place, int] = field(default_factory=dict)
    writes: dict[Place, list[int]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)

    def add(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self.position = message.position or 0
            entry = (message.extra or {}).get(ENTRY)
            if not isinstance(entry, dict):
                continue
            if "message" in entry:
                self.shown.add(entry["message"])
                continue
            place = (entry["ns"], entry["id"])
            if "writes" in entry:
                self.writes.setdefault(place, []).append(self.position)
            else:
                self.checkpoints[place] = self.position


class OmniCheckpointSaver(BaseCheckpointSaver[Any]):
    """Checkpoints of a store for ``graph.compile(checkpointer=...)``, for synchronous and asynchronous graphs.

    Every checkpoint has the whole state. Deleted threads and runs go to the trash.

    Args:
        store: the store; the caller closes it. Its time to live applies to the threads.
        serde: the serializer; None for that of LangGraph.
    """

    def __init__(self, store: SessionStore, *, serde: Any = None) -> None:
        super().__init__(serde=serde)
        self._store = store
        self._threads: dict[str, _Thread] = {}

    # Synchronous interface.

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the configuration names, or the newest one of its thread and namespace."""
        own = config["configurable"]
        namespace, wanted = own.get("checkpoint_ns", ""), get_checkpoint_id(config)
        address, thread = self._thread(own["thread_id"])
        ids = [one for ns, one in thread.checkpoints if ns == namespace]
        found = wanted or max(ids, default=None)
        if found is None or found not in ids:
            return None
        return self._load(address, thread, (namespace, found))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # the name of the interface
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first; without a configuration, those of all threads."""
        own = config["configurable"] if config else {}
        only, namespace = get_checkpoint_id(config) if config else None, own.get("checkpoint_ns")
        end = get_checkpoint_id(before) if before else None
        left = limit
        for thread_id in [own["thread_id"]] if config else self._thread_ids():
            address, thread = self._thread(thread_id)
            for place in sorted(thread.checkpoints, key=lambda place: place[1], reverse=True):
                skipped = namespace not in (None, place[0]) or (end and place[1] >= end)
                if skipped or only not in (None, place[1]):
                    continue
                if left is not None and left <= 0:
                    return
                found = self._load(address, thread, place)
                if found is None or not _matches(found.metadata, filter or {}):
                    continue
                left = None if left is None else left - 1
                yield found

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, and the messages of the graph that are new in it, in one step."""
        own = config["configurable"]
        thread_id, namespace = own["thread_id"], own.get("checkpoint_ns", "")
        address, thread = self._thread(thread_id)
        turn = f"{namespace}/{checkpoint['id']}"
        listed = checkpoint["channel_values"].get("messages")
        messages = list(_shown(listed if isinstance(listed, list) else [], thread.shown, turn))
        entry = {
            "ns": namespace,
            "id": checkpoint["id"],
            "parent": get_checkpoint_id(config),
            "checkpoint": self._packed(checkpoint),
            "metadata": self._packed(get_checkpoint_metadata(config, metadata)),
        }
        messages.append(Message("system", turn_id=turn, extra={ENTRY: entry}))
        origin = {"program": "langgraph"}
        self._store.write(address, messages, origin=origin)
        return _config(thread_id, (namespace, checkpoint["id"]))

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store the pending writes of a task."""
        own = config["configurable"]
        namespace = own.get("checkpoint_ns", "")
        entry = {
            "ns": namespace,
            "id": own["checkpoint_id"],
            "task": task_id,
            "path": task_path,
            "writes": [
                [WRITES_IDX_MAP.get(channel, number), channel, self._packed(value)]
                for number, (channel, value) in enumerate(writes)
            ],
        }
        turn = f"{namespace}/{own['checkpoint_id']}"
        message = Message("system", turn_id=turn, extra={ENTRY: entry})
        self._store.append(joined(ROOT, own["thread_id"]), message)

    def delete_thread(self, thread_id: str) -> None:
        """Move a thread to the trash."""
        self._store.delete(joined(ROOT, thread_id))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Move the checkpoints of runs, and their writes, to the trash."""
        for found in list_of(self.list(None)):
            if found.metadata.get("run_id") in run_ids:
                own = found.config["configurable"]
                turn = f"{own['checkpoint_ns']}/{own['checkpoint_id']}"
                self._store.remove_turn(joined(ROOT, own["thread_id"]), turn)
                self._threads.pop(own["thread_id"], None)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its whole history.

        Raises:
            SessionExists: the target exists.
        """
        self._store.fork(joined(ROOT, source_thread_id), joined(ROOT, target_thread_id))

    # Asynchronous interface: the same in threads.

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint; see `get_tuple`."""
        return await run_to_end(lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  # the name of the interface
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints; see `list`."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (one := await run_to_end(lambda: next(found, None))) is not None:
            yield one

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; see `put`."""
        return await run_to_end(lambda: self.put(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Store pending writes; see `put_writes`."""
        await run_to_end(lambda: self.put_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Move a thread to the trash."""
        await run_to_end(lambda: self.delete_thread(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Move the checkpoints of runs to the trash."""
        await run_to_end(lambda: self.delete_for_runs(run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread; see `copy_thread`."""
        await run_to_end(lambda: self.copy_thread(source_thread_id, target_thread_id))

    # Reading.

    def _thread_ids(self) -> Iterator[str]:
        prefix = f"{ROOT}/"
        for summary in self._store.list(prefix=prefix, archived=None):
            yield unquote(summary.id.removeprefix(prefix))

    def _thread(self, thread_id: str) -> tuple[str, _Thread]:
        """Return the session id of a thread and its index, with what was added since; empty if it does not exist."""
        address = joined(ROOT, thread_id)
        try:
            uid = self._store.header(address).uid
            known = self._threads.get(thread_id)
            # A copy, because several threads of the process may extend it at the same time.
            index = _copied(known) if known is not None and known.uid == uid else _Thread(uid)
            index.add(self._store.messages(address, after=index.position))
        except SessionNotFound:
            index = _Thread()
        self._threads[thread_id] = index
        return address, index

    def _load(self, address: str, thread: _Thread, place: Place) -> CheckpointTuple | None:
        """Return a checkpoint with its writes; None if it was removed since it was indexed."""
        entry = self._entry(address, thread.checkpoints[place])
        if entry is None:
            return None
        writes: dict[tuple[str, int], tuple[tuple[str, str, int], tuple[str, str, Any]]] = {}
        for position in thread.writes.get(place, ()):
            batch = self._entry(address, position) or {"writes": ()}
            for number, channel, packed in batch["writes"]:
                key = (batch["task"], number)
                if number < 0 or key not in writes:  # a repeated task stores the same writes
                    value = (batch["task"], channel, self._unpacked(packed))
                    writes[key] = ((batch["path"], *key), value)
        thread_id = unquote(address.removeprefix(f"{ROOT}/"))
        parent = entry["parent"]
        return CheckpointTuple(
            config=_config(thread_id, place),
            checkpoint=self._unpacked(entry["checkpoint"]),
            metadata=self._unpacked(entry["metadata"]),
            parent_config=_config(thread_id, (place[0], parent)) if parent else None,
            pending_writes=[value for _, value in sorted(writes.values(), key=lambda one: one[0])],
        )

    def _entry(self, address: str, position: int) -> dict[str, Any] | None:
        for message in self._store.messages(address, after=position - 1, before=position + 1):
            entry: dict[str, Any] | None = (message.extra or {}).get(ENTRY)
            return entry
        return None

    def _packed(self, value: Any) -> Sequence[str]:
        kind, data = self.serde.dumps_typed(value)
        return [kind, b64encode(data).decode()]

    def _unpacked(self, packed: Sequence[str]) -> Any:
        return self.serde.loads_typed((packed[0], b64decode(packed[1])))


list_of: Callable[[Iterator[CheckpointTuple]], Sequence[CheckpointTuple]] = list
"""The built-in, whose name the class uses for a method."""


def _copied(index: _Thread) -> _Thread:
    writes = {place: [*positions] for place, positions in index.writes.items()}
    return _Thread(index.uid, index.position, {**index.checkpoints}, writes, {*index.shown})


def _config(thread_id: str, place: Place) -> RunnableConfig:
    names = ("thread_id", "checkpoint_ns", "checkpoint_id")
    return {"configurable": dict(zip(names, (thread_id, *place), strict=True))}


def _matches(metadata: Any, wanted: dict[str, Any]) -> bool:
    return all(metadata.get(key) == value for key, value in wanted.items())


def _shown(listed: Sequence[Any], known: set[str], turn: str) -> Iterator[Message]:
    """Yield the messages of the graph that are not stored yet."""
    for number, message in enumerate(listed):
        kind = getattr(message, "type", None)
        own_id = str(getattr(message, "id", None) or f"{number} {kind}")
        if kind not in _ROLES or own_id in known:
            continue
        keys: dict[str, Any] = {"turn_id": turn, "extra": {ENTRY: {"message": own_id}}}
        if kind == "tool":
            keys["tool_call_id"] = str(message.tool_call_id)
        calls = [_call(call) for call in getattr(message, "tool_calls", None) or ()]
        yield Message(_ROLES[kind], _text(message.content), tool_calls=calls or None, **keys)


def _call(call: Any) -> dict[str, Any]:
    arguments = dump(call.get("args") or {}).decode()
    function = {"name": call.get("name") or "", "arguments": arguments}
    return {"id": call.get("id") or "", "type": "function", "function": function}


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = [part if isinstance(part, str) else part.get("text") for part in content]
    return "\n".join(part for part in parts if isinstance(part, str))
