"""The slash command that goes on with what stopped early."""

from __future__ import annotations

from datetime import timedelta

from omniagent_cli.agent.resume import ending, may_grow
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import UsageError
from omniagent_cli.models import Message
from omniagent_cli.repl.chat import Chat, GoingOn
from omniagent_cli.repl.last_turn import last_turn
from omniagent_cli.repl.registry import ModelName, command
from omniagent_cli.repl.truncation import open_tail

_STILL_WRITTEN = timedelta(seconds=60)
"""A model may be silent for that long before it is given up."""


@command("continue")
async def go_on(chat: Chat, *, model: ModelName = "") -> None:
    """Go on with an answer that was interrupted, failed, or was cut at the token limit.

    It stays one answer. A turn that stopped among its tools is taken from there to its answer.
    -m MODEL lets another model go on this once.
    """
    turn = await chat.call(last_turn, chat.store, chat.session_id, chat.own_turns)
    if not turn:
        raise UsageError("there is nothing to go on with; this session has no question")
    end = ending(turn)
    if not end.goes_on:
        why = "the last answer is whole" if len(turn) > 1 and turn[-1].text else end.value
        hint = "; /retry asks the question again" if why == end.value else ""
        raise UsageError(f"there is nothing to go on with: {why}{hint}")
    if await _is_anothers(chat, turn[-1]) and not await chat.confirm(
        "Another program may be writing this answer still. Go on with it anyway?"
    ):
        chat.terminal.note("nothing was done")
        return
    partial = turn[-1].text if turn[-1].role == "assistant" and not turn[-1].tool_calls else ""
    going_on = GoingOn(turn[0].turn_id, open_tail(partial, chat.terminal.width))
    await chat.with_model(
        model, lambda engine: chat.turn(turn[0].content, engine, going_on=going_on)
    )


async def _is_anothers(chat: Chat, message: Message) -> bool:
    """Tell whether an answer that has no end was written a moment ago, and not by us."""
    if not may_grow(message):
        return False
    summary = await chat.call(chat.store.summary, chat.session_id)
    return utc_now() - summary.updated_at < _STILL_WRITTEN
