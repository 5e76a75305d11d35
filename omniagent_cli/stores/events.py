"""Store events and the event bus."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.fork_safety import ForkAware, register

EVENTS = (
    "message_added",
    "session_created",
    "session_cleared",
    "session_trimmed",
    "session_deleted",
    "session_expired",
    "session_rolled",
    "metadata_changed",
)


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


Handler = Callable[[Event], object]


class EventBus(ForkAware):
    """Caller of handlers, in the order they were added; the error of a handler is logged."""

    def __init__(self) -> None:
        self._handlers: dict[str, dict[object, Handler]] = {}
        self._lock = threading.Lock()
        register(self)

    def after_fork_in_child(self) -> None:
        """Replace the lock, which another thread of the parent may have held."""
        self._lock = threading.Lock()

    def on(self, name: str, handler: Handler) -> Callable[[], None]:
        """Call the handler for each event of this name; the returned function removes it.

        Raises:
            UsageError: the event is unknown.
        """
        if name not in EVENTS:
            raise UsageError(f"unknown event {name!r}; choose one of {', '.join(EVENTS)}")
        registration = object()  # the same handler may be added twice and removed once
        with self._lock:
            self._handlers[name] = {**self._handlers.get(name, {}), registration: handler}

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
