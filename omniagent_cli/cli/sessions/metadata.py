"""`omniagent sessions meta` and `state`: the user's and the agent's data about a session."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer

from omniagent_cli.cli.framework import session_ids
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.options import AnyId, OneId
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.errors import KeyNotFound
from omniagent_cli.parsing import did_you_mean, parse_json_or_text
from omniagent_cli.text.sanitize import plain_field, visible
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.views import pairs_table, quoted

Key = Annotated[str, typer.Argument(metavar="KEY", help="the key")]
MaybeKey = Annotated[
    str | None,
    typer.Argument(metavar="[KEY]", help="the key (default: all)", show_default=False),
]
Text = Annotated[
    str,
    typer.Argument(
        metavar="VALUE", help="the value, parsed as JSON if possible, else text", show_default=False
    ),
]
AsString = Annotated[bool, typer.Option("--string", help="treat VALUE as text")]


class _Section(NamedTuple):
    """The metadata or the state section of sessions."""

    name: str
    context: Context

    def read(self, session_id: str) -> dict[str, Any]:
        header = self.context.store.header(session_id)
        return header.metadata if self.name == "metadata" else header.state

    def write(self, session_id: str, key: str, value: Any) -> None:
        store = self.context.store_to_create
        (store.set_metadata if self.name == "metadata" else store.set_state)(session_id, key, value)

    def remove(self, session_id: str, key: str) -> bool:
        store = self.context.store
        drop = store.delete_metadata if self.name == "metadata" else store.delete_state
        return drop(session_id, key)


def meta_set(
    ctx: typer.Context, *, id_: OneId, key: Key, value: Text, string: AsString = False
) -> None:
    """Set a metadata value; creates the session if it does not exist."""
    _set(_Section("metadata", current_context(ctx)), id_, key, value, string=string)


def state_set(
    ctx: typer.Context, *, id_: OneId, key: Key, value: Text, string: AsString = False
) -> None:
    """Set a state value; creates the session if it does not exist."""
    _set(_Section("state", current_context(ctx)), id_, key, value, string=string)


def meta_get(ctx: typer.Context, *, id_: AnyId, key: MaybeKey = None) -> None:
    """Print a metadata value, or all."""
    _get(_Section("metadata", current_context(ctx)), id_, key)


def state_get(ctx: typer.Context, *, id_: AnyId, key: MaybeKey = None) -> None:
    """Print a state value, or all."""
    _get(_Section("state", current_context(ctx)), id_, key)


def meta_unset(ctx: typer.Context, *, id_: OneId, key: Key) -> None:
    """Remove a metadata value."""
    _unset(_Section("metadata", current_context(ctx)), id_, key)


def state_unset(ctx: typer.Context, *, id_: OneId, key: Key) -> None:
    """Remove a state value."""
    _unset(_Section("state", current_context(ctx)), id_, key)


def _set(section: _Section, given_id: str, key: str, text: str, *, string: bool) -> None:
    context = section.context
    value = text if string else parse_json_or_text(text)
    store = context.store_to_create
    session_id = session_ids.resolve_for_creation(context, given_id)
    created = not store.exists(session_id)
    section.write(session_id, key, value)
    if created:
        context.terminal.note(f"Created session {quoted(session_id)}")


def _get(section: _Section, given_id: str, key: str | None) -> None:
    context = section.context
    session_id = session_ids.resolve_for_reading(context, given_id)
    values = section.read(session_id)
    if key is not None:
        if key not in values:
            raise _no_key(section, session_id, key, values)
        _show_value(context, values[key])
    elif context.json:
        context.terminal.json(values)
    else:
        show_rows(
            context,
            sorted(values.items()),
            record=list,
            fields=lambda pair: [plain_field(pair[0]), json_text(pair[1])],
            table=lambda pairs: pairs_table("KEY", [(k, json_text(v)) for k, v in pairs]),
            empty=f"{quoted(session_id)} has no {section.name}",
        )


def _show_value(context: Context, value: Any) -> None:
    terminal = context.terminal
    if context.json or not isinstance(value, str):
        terminal.json(value)
    else:
        terminal.line(visible(value) if terminal.is_terminal else value)


def _unset(section: _Section, given_id: str, key: str) -> None:
    session_id = session_ids.resolve_for_change(section.context, given_id)
    if not section.remove(session_id, key):
        raise _no_key(section, session_id, key, section.read(session_id))


def _no_key(section: _Section, session_id: str, key: str, values: dict[str, Any]) -> KeyNotFound:
    known = ", ".join(map(quoted, sorted(values)[:10])) or f"no {section.name}"
    hint = did_you_mean(key, values, f"it has {known}", shown=quoted)
    return KeyNotFound(
        f"the session {quoted(session_id)} has no {section.name} {quoted(key)}; {hint}",
        session_id=session_id,
        key=key,
    )
