"""The slash command that resumes an unfinished turn."""

from __future__ import annotations

from omniagent_cli.agent.last_turn import last_turn
from omniagent_cli.agent.resume import ending, is_streaming_elsewhere
from omniagent_cli.errors import UsageError
from omniagent_cli.repl.chat import Chat, ResumedTurn
from omniagent_cli.repl.registry import ModelName, command
from omniagent_cli.repl.truncation import open_tail


@command("continue")
async def continue_turn(chat: Chat, *, model: ModelName = "") -> None:
    """Resume an answer that was interrupted, failed, or was cut at the token limit.

    The answer stays one message. A turn that stopped during its tool calls is completed.
    -m MODEL uses another model for it.
    """
    turn = await chat.call(last_turn, chat.store, chat.session_id, chat.own_turns)
    if not turn:
        raise UsageError("nothing to continue: this session has no question")
    end = ending(turn)
    if not end.is_resumable:
        why = "the last answer is complete" if len(turn) > 1 and turn[-1].text else end.value
        hint = "; /retry asks the question again" if why == end.value else ""
        raise UsageError(f"nothing to continue: {why}{hint}")
    streaming = await chat.call(is_streaming_elsewhere, chat.store, chat.session_id, turn[-1])
    if streaming and not await chat.confirm(
        "Another program may still be writing this answer. Continue it anyway?"
    ):
        chat.terminal.note("Nothing changed")
        return
    partial = turn[-1].text if turn[-1].role == "assistant" and not turn[-1].tool_calls else ""
    resumed = ResumedTurn(turn[0].turn_id, open_tail(partial, chat.terminal.width))
    await chat.with_model(model, lambda engine: chat.turn(turn[0].content, engine, resumed=resumed))
