"""Session protocol of the OpenAI Agents SDK over any store.

The protocol is https://openai.github.io/openai-agents-python/ref/memory/session/ (checked with openai-agents 0.24).
Each item of the SDK is one message. Fields that a message has are stored there, so that listing, search, exports and
recall use them; an item with more fields is also stored whole in ``extra["openai_agents_item"]`` and returned equal.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from omniagent_cli.errors import InvalidRecord, SessionNotFound, StoreClosed
from omniagent_cli.json_format import dump
from omniagent_cli.models import ROLES, Message, check_session_id
from omniagent_cli.serial_executor import SerialExecutor
from omniagent_cli.stores.aio import run_to_end

if TYPE_CHECKING:
    from agents.memory import SessionSettings
    from openai.types.responses import ResponseInputItemParam

    from omniagent_cli.stores import SessionStore

ITEM = "openai_agents_item"
"""The key of the unchanged item in a message's ``extra``."""

Item = dict[str, Any]
T = TypeVar("T")

_CALLS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
}
"""Item types that are tool calls, and the field of their arguments."""


class OmniSession:
    """A session of a store for the OpenAI Agents SDK.

    Its first items create it. Items are only appended, and `pop_item` and `clear_session` move items to the store's
    trash. Messages written by other programs are returned as the closest items.

    Args:
        session_id: the id of the session in the store.
        store: the store; the caller closes it.
        session_settings: the SDK's ``SessionSettings``, or a mapping; its ``limit`` is the default of `get_items`.
    """

    def __init__(
        self,
        session_id: str,
        store: SessionStore,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        self.session_id = check_session_id(session_id)
        self.session_settings: SessionSettings | None = _coerced(session_settings)
        self._store = store
        # One thread, so that the calls of one object run in order.
        self._worker = SerialExecutor("omniagent-session")
        self._end = weakref.finalize(self, self._worker.shutdown, wait=False)

    async def get_items(self, limit: int | None = None) -> list[ResponseInputItemParam]:
        """Return the newest items in order, at most `limit`; None uses the limit of `session_settings`, or returns all."""
        if limit is None:
            limit = getattr(self.session_settings, "limit", None)
        # A negative limit means no limit in the SDK's own sessions (SQLite reads LIMIT -1 so).
        last = None if limit is None or limit < 0 else limit
        items = await self._call(lambda: self._items(last))
        return cast("list[ResponseInputItemParam]", items)

    def _items(self, last: int | None) -> list[Item]:
        try:
            messages = self._store.messages(self.session_id, last=last)
        except SessionNotFound:
            return []
        items = [item for message in messages for item in to_items(message)]
        return items if last is None else items[max(0, len(items) - last) :]

    async def add_items(self, items: Sequence[Any]) -> None:
        """Append items, all or none.

        Raises:
            InvalidRecord: an item is not a JSON object; nothing was stored.
        """
        messages = [to_message(item) for item in items]

        await self._call(lambda: self._append(messages))

    def _append(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        if messages[0].role != "user":  # the runner continues a turn of an earlier batch
            with contextlib.suppress(SessionNotFound):
                for newest in self._store.messages(self.session_id, last=1):
                    messages[0].turn_id = newest.turn_id
        self._store.append(self.session_id, messages)

    async def pop_item(self) -> ResponseInputItemParam | None:
        """Move the newest item to the trash and return it; return None without items.

        A message of another program that corresponds to several items is removed as a whole.
        """
        return cast("ResponseInputItemParam | None", await self._call(self._pop))

    def _pop(self) -> Item | None:
        try:
            while message := self._store.pop(self.session_id):
                if items := to_items(message):
                    return items[-1]
        except SessionNotFound:
            pass
        return None

    async def clear_session(self) -> None:
        """Move all items to the trash; the session and its metadata stay."""

        def clear() -> None:
            with contextlib.suppress(SessionNotFound):
                self._store.clear(self.session_id)

        await self._call(clear)

    def close(self) -> None:
        """End the worker thread; the store stays open. Garbage collection does the same."""
        self._end()

    async def _call(self, work: Callable[[], T]) -> T:
        if not self._end.alive:
            raise StoreClosed(
                f"the session object of {self.session_id!r} is closed; create another"
            )
        return await run_to_end(work, self._worker)


def to_message(item: Any) -> Message:
    """Return the message for an item of the SDK.

    Raises:
        InvalidRecord: the item is not a JSON object.
    """
    if not isinstance(item, Mapping):
        raise InvalidRecord("an item must be a JSON object")
    own = dict(item)
    written = dump(own)
    message = Message(**_shape(own))
    seen = to_items(message)
    if len(seen) != 1 or dump(seen[0]) != written:
        message.extra = {ITEM: own}
    return message


def _shape(item: Item) -> dict[str, Any]:
    """Return the fields of an item that a message can hold."""
    kind, role = str(item.get("type", "message")), item.get("role")
    if kind in _CALLS:
        call = {
            "id": _text(item.get("call_id") or item.get("id")),
            "type": "function",
            "function": {
                "name": _text(item.get("name")),
                "arguments": _text(item.get(_CALLS[kind])),
            },
        }
        return {"role": "assistant", "content": "", "tool_calls": [call]}
    if kind.endswith("_output"):
        call_id = item.get("call_id")
        keys = {"tool_call_id": call_id} if isinstance(call_id, str) else {}
        return {"role": "tool", "content": _text(item.get("output")), **keys}
    role = "system" if role == "developer" else role
    content = _text(item.get("content")) if kind == "message" else ""
    return {"role": role if role in ROLES else "assistant", "content": content}


def _text(value: Any) -> str:
    """Return text, or the texts of parts, one per line."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        return ""
    texts = [part.get("text", part.get("refusal")) for part in value if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def to_items(message: Message) -> list[Item]:
    """Return the SDK's items of a message: the original item if it was stored, else equivalent ones."""
    kept = (message.extra or {}).get(ITEM)
    if isinstance(kept, dict):
        return [kept]
    if message.role == "tool":
        output = {"call_id": message.tool_call_id or "", "output": message.text}
        return [{**output, "type": "function_call_output"}]
    items: list[Item] = []
    if message.text:
        items.append({"content": message.text, "role": message.role})
    for call in message.tool_calls or ():
        function = call["function"]
        items.append(
            {
                "arguments": function.get("arguments", ""),
                "call_id": call.get("id") or "",
                "name": function["name"],
                "type": "function_call",
            }
        )
    return items


def _coerced(settings: Any) -> Any:
    if not isinstance(settings, Mapping):
        return settings
    try:
        from agents.memory import SessionSettings
    except (
        ImportError
    ):  # the SDK is not installed; only its runner needs more than these attributes
        return SimpleNamespace(**settings)
    return SessionSettings(**settings)
