"""Store events and the event bus."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.fork_safety import ForkAware, register


class SessionEvent(StrEnum):
    """The names of the events; each is equal to its text."""

    MESSAGE_ADDED = "message_added"
    SESSION_CREATED = "session_created"
    SESSION_CLEARED = "session_cleared"
    SESSION_TRIMMED = "session_trimmed"
    SESSION_DELETED = "session_deleted"
    SESSION_EXPIRED = "session_expired"
    SESSION_ROLLED = "session_rolled"
    METADATA_CHANGED = "metadata_changed"


@dataclass(frozen=True, slots=True)
class Event:
    """A change in a store, emitted after it is durable.

    Attributes:
        data: ``message`` (a copy) for message_added; ``count`` for cleared and trimmed; ``key``, ``value``
            and ``deleted`` for metadata_changed; ``moved_to`` (the new id of its messages) and ``reason`` for
            session_rolled.
    """

    name: str
    session_id: str
    data: dict[str, Any] = field(default_factory=dict)


Handler = Callable[..., object]
"""A function that takes the event, nothing, or parameters with the names of its facts; see `EventBus.on`."""


class EventBus(ForkAware):
    """Caller of handlers, in the order they were added; the error of a handler is logged."""

    def __init__(self) -> None:
        self._handlers: dict[str, dict[object, Callable[[Event], object]]] = {}
        self._lock = threading.Lock()
        register(self)

    def after_fork_in_child(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()

    def on(self, name: str, handler: Handler) -> Callable[[], None]:
        """Call the handler for each event of this name; the returned function removes it.

        A handler without parameters is called with nothing. One whose first parameter is named ``event``, ``name``,
        ``session_id`` or like a key of `Event.data` gets what its parameters are named after; any other gets the event.

        Raises:
            UsageError: the event is unknown, or the handler requires a parameter that no event has.
        """
        called = adapted(name, handler)
        registration = object()  # the same handler may be added twice and removed once
        with self._lock:
            self._handlers[name] = {**self._handlers.get(name, {}), registration: called}

        def off() -> None:
            with self._lock:
                known = self._handlers.get(name, {})
                self._handlers[name] = {k: h for k, h in known.items() if k is not registration}

        return off

    def wants(self, name: str) -> bool:
        """Return True if the event has a handler, so that data is not copied in vain."""
        return bool(self._handlers.get(name))

    def emit(self, event: Event) -> None:
        """Call every handler of the event."""
        for handler in self._handlers.get(event.name, {}).values():
            try:
                handler(event)
            except Exception:  # a handler must not break a write that is already durable
                import logging  # 7 % of a short command's time, and rarely needed

                logging.getLogger("omniagent.events").warning(
                    "a handler of %s failed", event.name, exc_info=True
                )


_DATA: dict[str, tuple[str, ...]] = {
    SessionEvent.MESSAGE_ADDED: ("message", "msg"),
    SessionEvent.SESSION_CLEARED: ("count",),
    SessionEvent.SESSION_TRIMMED: ("count",),
    SessionEvent.SESSION_ROLLED: ("moved_to", "reason"),
    SessionEvent.METADATA_CHANGED: ("key", "value", "deleted"),
}
"""Keys of `Event.data`; ``msg`` is another name of ``message``."""


def adapted(name: str, handler: Handler) -> Callable[[Event], object]:
    """Return a function that calls a handler with what it accepts.

    Raises:
        UsageError: the event is unknown, or the handler requires a parameter that the event does not have.
    """
    if name not in list(SessionEvent):
        raise UsageError(f"unknown event {name!r}; choose one of {', '.join(SessionEvent)}")
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):  # some functions written in C have no signature
        return handler
    if not parameters:
        return lambda event: handler()
    known = ("event", "name", "session_id", *_DATA.get(name, ()))
    first = parameters[0]
    if first.name not in known or first.kind is not first.POSITIONAL_OR_KEYWORD:
        return handler
    taken = [one.name for one in parameters if one.name in known]
    if missing := [one.name for one in parameters if one.name not in known and _is_required(one)]:
        raise UsageError(
            f"{name} has no {missing[0]!r}; a handler can take {', '.join(known)}, or one event"
        )
    return lambda event: handler(**{key: _fact(event, key) for key in taken})


def _is_required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic


def _fact(event: Event, key: str) -> object:
    if key == "event":
        return event
    if key in ("name", "session_id"):
        return getattr(event, key)
    return event.data["message" if key == "msg" else key]
