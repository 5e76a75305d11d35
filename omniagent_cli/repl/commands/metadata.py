"""The slash command for session metadata."""

from __future__ import annotations

from typing import Annotated

from omniagent_cli import parsing
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.repl.arguments import Kind
from omniagent_cli.repl.chat import Chat
from omniagent_cli.repl.registry import Flag, MetadataKey, command
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.json_text import json_text
from omniagent_cli.ui.views import pairs_table, quoted

Action = Annotated[str, Kind("set|get|unset", "actions")]
Value = Annotated[str, Kind("VALUE", rest=True)]


@command("meta")
async def meta(
    chat: Chat,
    action: Action = "",
    key: MetadataKey = "",
    value: Value = "",
    *,
    string: Flag = False,
) -> None:
    """Show the session's metadata, or set, get or unset one key.

    A value is parsed as JSON if possible, else it is text; --string makes it text. Setting a value creates the session.
    """
    if not action or (action == "get" and not key):
        await _show_all(chat)
    elif action not in ("set", "get", "unset") or not key:
        raise UsageError(
            "/meta needs an action and a key; use /meta set KEY VALUE, /meta get KEY or /meta unset KEY"
        )
    elif action == "get":
        found = await chat.call(chat.store.get_metadata, chat.session_id, key)
        chat.terminal.line(visible(found if isinstance(found, str) else json_text(found)))
    elif action == "set":
        if not value:
            raise UsageError("/meta set needs a value; use /meta set KEY VALUE")
        taken = value if string else parsing.parse_json_or_text(value)
        await chat.call(chat.store.set_metadata, chat.session_id, key, taken)
        chat.terminal.note(f"Set {one_line(key)}")
    elif await chat.call(chat.store.delete_metadata, chat.session_id, key):
        chat.terminal.note(f"Removed {one_line(key)}")
    else:
        chat.terminal.note(f"{quoted(chat.session_id)} has no {one_line(key)}")


async def _show_all(chat: Chat) -> None:
    try:
        session = await chat.call(chat.store.header, chat.session_id)
    except SessionNotFound:
        known = {}
    else:
        known = session.metadata
    if not known:
        chat.terminal.note("This session has no metadata")
        return
    pairs = [(k, v if isinstance(v, str) else json_text(v)) for k, v in sorted(known.items())]
    chat.terminal.table(pairs_table("KEY", pairs))
