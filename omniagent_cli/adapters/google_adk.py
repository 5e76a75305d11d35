"""Session service of the Google Agent Development Kit over any store.

The interface is ``google.adk.sessions.BaseSessionService`` (checked with google-adk 2.0 and 2.13). Each event is stored
whole and returned equal; its text, tool calls and results become messages. The state of a session is its ``state``;
the states of an app and of a user are archived sessions without messages, which never expire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

try:
    from google.adk.errors.already_exists_error import AlreadyExistsError
    from google.adk.events import Event
    from google.adk.sessions import BaseSessionService, Session, State
    from google.adk.sessions.base_session_service import GetSessionConfig, ListSessionsResponse
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "the Google ADK is not installed; install it with: pip install 'omniagent-cli[google-adk]'",
        name=missing.name,
    ) from missing

from pydantic_core import to_jsonable_python

from omniagent_cli.adapters.session_names import joined
from omniagent_cli.errors import SessionNotFound
from omniagent_cli.json_format import dump, parse_time
from omniagent_cli.models import Message
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.aio import run_to_end
from omniagent_cli.stores.backend import HeaderRow
from omniagent_cli.stores.operations.header import set_values
from omniagent_cli.stores.unit_of_work import UnitOfWork

EVENT = "google_adk_event"
"""The key of the unchanged event in the ``extra`` of its first message."""

ROOT = "google-adk"
"""First part of the session ids: ``google-adk/APP/USER/SESSION``."""

JsonObject = dict[str, Any]


@dataclass(slots=True)
class _Scopes:
    """State values by scope, with keys without their prefix."""

    app: JsonObject = field(default_factory=dict)
    user: JsonObject = field(default_factory=dict)
    session: JsonObject = field(default_factory=dict)

    @classmethod
    def of(cls, state: JsonObject) -> _Scopes:
        """Split a state; temporary values are left out, and what is not JSON becomes text."""
        scopes = cls()
        for key, value in to_jsonable_python(state, serialize_unknown=True).items():
            if key.startswith(State.APP_PREFIX):
                scopes.app[key.removeprefix(State.APP_PREFIX)] = value
            elif key.startswith(State.USER_PREFIX):
                scopes.user[key.removeprefix(State.USER_PREFIX)] = value
            elif not key.startswith(State.TEMP_PREFIX):
                scopes.session[key] = value
        return scopes

    def merged(self) -> JsonObject:
        """Return one state with prefixes."""
        app = {State.APP_PREFIX + key: value for key, value in self.app.items()}
        user = {State.USER_PREFIX + key: value for key, value in self.user.items()}
        return {**self.session, **app, **user}


class OmniSessionService(BaseSessionService):
    """Sessions of a store for ``Runner(session_service=...)``.

    An event and the changes of all three states are stored in one step. Several processes may append to one session:
    their events are kept in the order in which they were stored, and a stale session object is not refused. Deleted
    sessions go to the trash.

    Args:
        store: the store; the caller closes it. Its time to live applies to the sessions.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: JsonObject | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Create a session.

        Raises:
            AlreadyExistsError: a session with this id exists.
        """
        scopes = _Scopes.of(state or {})
        own_id = (session_id or "").strip() or str(uuid4())
        address = joined(ROOT, app_name, user_id, own_id)

        def create(unit: UnitOfWork) -> None:
            target = unit.open_for_writing(address, payload=True)
            if not target.created:
                raise AlreadyExistsError(f"Session with id {own_id} already exists.")
            target.header.agent_id = app_name
            _set_states(unit, target.header, scopes, app_name, user_id)
            unit.touch(target.header, unit.now(), activity=True)
            unit.tx.put(target.header)

        def work() -> Session:
            self._store.write_unit(create)
            return self._store.read_unit(
                lambda unit: self._session(unit, unit.find(address), app_name, user_id, own_id, [])
            )

        return await run_to_end(work)

    async def get_session(
        self,
        *,
        app_name: str,
        user_id: str,
        session_id: str,
        config: GetSessionConfig | None = None,
    ) -> Session | None:
        """Return a session with its newest events as `config` limits them; None if it does not exist."""
        own_id = session_id.strip()
        address = joined(ROOT, app_name, user_id, own_id)
        config = config or GetSessionConfig()

        def read() -> Session | None:
            try:
                events = self._events(address, config.num_recent_events)
                return self._store.read_unit(
                    lambda unit: self._session(
                        unit, unit.find(address), app_name, user_id, own_id, events
                    )
                )
            except SessionNotFound:
                return None

        session = await run_to_end(read)
        if session is not None and config.after_timestamp is not None:
            after = config.after_timestamp
            session.events = [event for event in session.events if event.timestamp >= after]
        return session

    def _events(self, address: str, newest: int | None) -> list[Event]:
        """Return events, oldest first; an event may have several messages."""
        count = newest
        while True:
            messages = self._store.messages(address, last=count)
            found = list(_stored_events(messages))
            if newest is None or count is None or len(found) >= newest or len(messages) < count:
                break
            count *= 2
        chosen = found if newest is None else found[max(0, len(found) - newest) :]
        return [Event.model_validate(event) for event in chosen]

    async def list_sessions(
        self, *, app_name: str, user_id: str | None = None
    ) -> ListSessionsResponse:
        """Return the sessions of a user, or of all users, without events; the most recently used last."""
        names = [ROOT, app_name] if user_id is None else [ROOT, app_name, user_id]
        prefix = joined(*names) + "/"

        def read(unit: UnitOfWork, address: str) -> Session:
            user, own_id = map(unquote, address.split("/")[2:])
            return self._session(unit, unit.find(address), app_name, user, own_id, [])

        def work() -> list[Session]:
            found = []
            for summary in self._store.list(prefix=prefix, archived=None):
                if summary.id.count("/") == 3:  # not the state of a user
                    address = summary.id
                    found.append(self._store.read_unit(lambda unit: read(unit, address)))  # noqa: B023  # called at once
            return sorted(found, key=lambda one: (one.last_update_time, one.user_id, one.id))

        return ListSessionsResponse(sessions=await run_to_end(work))

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Move a session to the trash; the states of the user and the app stay."""
        address = joined(ROOT, app_name, user_id, session_id.strip())
        await run_to_end(lambda: self._store.delete(address))

    async def get_user_state(self, *, app_name: str, user_id: str) -> JsonObject:
        """Return the state of a user, with keys without ``user:``."""
        address = joined(ROOT, app_name, user_id)
        return await run_to_end(lambda: self._store.read_unit(lambda unit: _state(unit, address)))

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store an event and its changes of the states, then apply them to the session object.

        Raises:
            SessionNotFound: the session was deleted.
        """
        if event.partial:
            return event
        record = event.model_dump(mode="json", exclude_none=True)
        delta = event.actions.state_delta if event.actions else {}
        scopes = _Scopes.of(delta)
        if delta:
            kept = {key for key in delta if not key.startswith(State.TEMP_PREFIX)}
            record["actions"]["state_delta"] = {
                key: value
                for key, value in to_jsonable_python(delta, serialize_unknown=True).items()
                if key in kept
            }
        messages = to_messages(record)
        texts = self._store.append_texts(messages)
        address = joined(ROOT, session.app_name, session.user_id, session.id)

        def work(unit: UnitOfWork) -> float:
            header = unit.find(address)
            _set_states(unit, header, scopes, session.app_name, session.user_id)
            unit.append(header, [message.copy() for message in messages], texts)
            return parse_time(header.updated_at).timestamp()

        session.last_update_time = await run_to_end(lambda: self._store.write_unit(work))
        return await super().append_event(session, event)

    def _session(
        self,
        unit: UnitOfWork,
        header: HeaderRow,
        app_name: str,
        user_id: str,
        session_id: str,
        events: list[Event],
    ) -> Session:
        scopes = _Scopes(
            app=_state(unit, joined(ROOT, app_name)),
            user=_state(unit, joined(ROOT, app_name, user_id)),
            session=unit.data(header).get("state") or {},
        )
        return Session(
            app_name=app_name,
            user_id=user_id,
            id=session_id,
            state=scopes.merged(),
            events=events,
            last_update_time=parse_time(header.updated_at).timestamp(),
        )


def _state(unit: UnitOfWork, address: str) -> JsonObject:
    try:
        return unit.data(unit.find(address)).get("state") or {}
    except SessionNotFound:
        return {}


def _set_states(
    unit: UnitOfWork, header: HeaderRow, scopes: _Scopes, app_name: str, user_id: str
) -> None:
    """Set the values of the app, the user and the session; the caller stores the session's header."""
    shared = ((joined(ROOT, app_name), scopes.app), (joined(ROOT, app_name, user_id), scopes.user))
    for address, values in shared:
        if values:
            target = unit.open_for_writing(address, payload=True)
            if target.created:
                target.header.ttl_seconds = None
                set_values(unit, target.header, "metadata", {"archived": True})
            set_values(unit, target.header, "state", values)
            unit.touch(target.header, unit.now(), activity=target.created)
            unit.tx.put(target.header)
    if scopes.session:
        set_values(unit, header, "state", scopes.session)


def _stored_events(messages: Iterable[Message]) -> Iterator[JsonObject]:
    for message in messages:
        event = (message.extra or {}).get(EVENT)
        if isinstance(event, dict):
            yield event


def to_messages(event: JsonObject) -> list[Message]:
    """Return the messages of an event as JSON: one with its text and calls, then one per tool result.

    The first one keeps the event.
    """
    content = event.get("content") or {}
    texts, calls, results = [], [], []
    for part in content.get("parts") or []:
        if part.get("text") and not part.get("thought"):
            texts.append(part["text"])
        if call := part.get("function_call"):
            arguments = dump(call.get("args") or {}).decode()
            function = {"name": call.get("name") or "", "arguments": arguments}
            calls.append({"id": call.get("id") or "", "type": "function", "function": function})
        if result := part.get("function_response"):
            results.append(_result(result))
    if event.get("error_message"):
        texts.append(event["error_message"])
    messages = results
    if texts or calls or not results:
        author = event.get("author")
        role = "user" if author == "user" else "assistant" if texts or calls else "system"
        name = None if author == "user" else author
        text = "\n\n".join(texts)
        messages = [Message(role, text, tool_calls=calls or None, name=name), *results]
    messages[0].extra = {EVENT: event}
    return messages


def _result(response: JsonObject) -> Message:
    value = response.get("response") or {}
    text = value.get("result") if len(value) == 1 else None
    return Message(
        "tool",
        text if isinstance(text, str) else dump(value).decode(),
        tool_call_id=response.get("id") or "",
        name=response.get("name"),
    )
