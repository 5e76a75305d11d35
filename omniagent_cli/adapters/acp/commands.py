"""Slash commands in an editor; each runs in place of a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from acp import schema

from omniagent_cli import parsing
from omniagent_cli.agent.context.attachments import Attachment, compose
from omniagent_cli.agent.context.cost import session_usage, usage_line
from omniagent_cli.agent.last_turn import last_turn, remove_turn, undo_turn
from omniagent_cli.agent.resume import is_streaming_elsewhere
from omniagent_cli.errors import SessionNotFound, UsageError

if TYPE_CHECKING:
    from omniagent_cli.adapters.acp.host import Host, SavedText
    from omniagent_cli.adapters.acp.session import OpenSession

Reply = str | schema.PromptResponse
"""The text shown in the editor, or the response of a turn that the command ran."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """The session and the program in which a command runs.

    Attributes:
        use_model: opens another model for the session.
    """

    live: OpenSession
    host: Host
    use_model: Callable[[str], Awaitable[None]]


async def _title(context: CommandContext, text: str) -> Reply:
    store, own_id = context.host.store, context.live.id

    def work() -> str:
        if text:
            store.set_title(own_id, text)
        return store.summary(own_id).title

    return await asyncio.to_thread(work) or "The session has no title"


async def _tag(context: CommandContext, text: str) -> Reply:
    store, own_id = context.host.store, context.live.id
    added, removed = parsing.signed_tags(text.split())

    def work() -> list[str]:
        if not added and not removed:
            return store.summary(own_id).tags
        return store.tag(own_id, added, removed)

    return ", ".join(await asyncio.to_thread(work)) or "The session has no tags"


async def _model(context: CommandContext, text: str) -> Reply:
    if not text:
        return context.live.model
    await context.use_model(text)
    return f"Switched to {context.live.model}"


async def _compact(context: CommandContext, text: str) -> Reply:
    live = context.live
    done = await live.agent.acompact(live.id, text, engine=live.engine)
    return f"Summarized {_messages(done.messages)}; the summary is sent instead of them from now on"


async def _undo(context: CommandContext, _: str) -> Reply:
    store, live = context.host.store, context.live

    def work() -> tuple[int, str | None]:
        turn = last_turn(store, live.id, live.own_turns)
        if not turn:
            raise UsageError("nothing to undo: this session has no question")
        return undo_turn(store, live.id, turn)

    count, uid = await asyncio.to_thread(work)
    if uid is None:
        return f"Removed {_messages(count)} for good, because sessions.trash_ttl is 0"
    live.undone.append(uid)
    return f"Removed {_messages(count)} from the session. /redo restores them"


async def _redo(context: CommandContext, _: str) -> Reply:
    store, live = context.host.store, context.live
    if not live.undone:
        raise UsageError("nothing to redo; to see all removed messages: omniagent sessions trash")
    uid = live.undone.pop()
    entry = await asyncio.to_thread(lambda: store.restore(live.id, uid=uid))
    return f"Restored {_messages(entry.message_count)}"


async def _retry(context: CommandContext, _: str) -> Reply:
    store, live = context.host.store, context.live

    def work() -> str | None:
        turn = last_turn(store, live.id, live.own_turns)
        if not turn:
            raise UsageError("nothing to retry: this session has no question")
        remove_turn(store, live.id, turn, but_question=True)
        return turn[0].turn_id

    turn_id = await asyncio.to_thread(work)
    return await live.play(live.agent.continue_turn(live.id, turn_id, engine=live.engine))


async def _continue(context: CommandContext, _: str) -> Reply:
    store, live = context.host.store, context.live

    def work() -> str | None:
        turn = last_turn(store, live.id, live.own_turns)
        if turn and is_streaming_elsewhere(store, live.id, turn[-1]):
            raise UsageError(
                "another program may still be writing this answer; try again in a minute"
            )
        return turn[0].turn_id if turn else None

    turn_id = await asyncio.to_thread(work)
    return await live.play(live.agent.continue_turn(live.id, turn_id, engine=live.engine))


async def _usage(context: CommandContext, _: str) -> Reply:
    store, live, prices = context.host.store, context.live, context.host.prices
    used, last = await asyncio.to_thread(lambda: session_usage(store, live.id))
    if not used.models:
        return "No token counts in this session"
    lines = [f"Session: {usage_line(used.total, used.cost(prices))}"]
    if last.models:
        lines.append(f"Last turn: {usage_line(last.total, last.cost(prices))}")
    return "\n\n".join(lines)


def _messages(count: int | None) -> str:
    return "1 message" if count == 1 else f"{count or 0:,} messages"


@dataclass(frozen=True, slots=True)
class _Command:
    run: Callable[[CommandContext, str], Awaitable[Reply]]
    description: str
    hint: str = ""


_COMMANDS = {
    "title": _Command(_title, "Show or set the title of the session", "title"),
    "tag": _Command(_tag, "Show, add or remove tags", "+tag -tag"),
    "model": _Command(_model, "Show the model, or use another from now on", "model"),
    "compact": _Command(_compact, "Summarize the older part of the session", "what to keep"),
    "undo": _Command(_undo, "Remove the last turn from the session"),
    "redo": _Command(_redo, "Restore what /undo removed"),
    "retry": _Command(_retry, "Answer the last question again"),
    "continue": _Command(_continue, "Continue an answer that was interrupted or cut"),
    "usage": _Command(_usage, "Show the tokens used by the session and its last turn"),
}


def available_commands(saved: Sequence[tuple[str, str]]) -> list[schema.AvailableCommand]:
    """Return the commands for an editor's completion, with name and description of saved prompts."""
    known = [(name, each.description, each.hint) for name, each in _COMMANDS.items()]
    known += [(name, summary, "text") for name, summary in saved if name not in _COMMANDS]
    return [
        schema.AvailableCommand(
            name=name,
            description=description,
            input=schema.AvailableCommandInput(schema.UnstructuredCommandInput(hint=hint))
            if hint
            else None,
        )
        for name, description, hint in known
    ]


async def run_prompt(
    context: CommandContext, text: str, attachments: Sequence[Attachment]
) -> schema.PromptResponse:
    """Run a prompt: a command, a saved prompt, or a message; other texts that begin with a slash are messages.

    Raises:
        OmniAgentError: the command or the turn failed.
    """
    if text.lstrip().startswith("/"):
        name, rest = _split(text)
        if command := _COMMANDS.get(name):
            return await _run_command(context, command, rest)
        host, cwd = context.host, context.live.cwd
        if saved := await asyncio.to_thread(lambda: host.saved_prompt(cwd, name, rest)):
            return await _send_saved(context, saved, attachments)
    return await context.live.answer(compose(text, attachments))


async def _run_command(
    context: CommandContext, command: _Command, arguments: str
) -> schema.PromptResponse:
    try:
        reply = await command.run(context, arguments)
    except SessionNotFound as error:
        if error.session_id != context.live.id:
            raise
        raise UsageError("the session has no messages yet") from error
    return await _sent(context, reply) if isinstance(reply, str) else reply


async def _send_saved(
    context: CommandContext, saved: SavedText, attachments: Sequence[Attachment]
) -> schema.PromptResponse:
    live, model = context.live, saved.model
    if saved.system is not None:
        live.agent.system_prompt = saved.system
    content = compose(saved.text, attachments)
    if not content:
        return await _sent(context, "System prompt set")
    engine = None
    if model is not None:
        engine = await asyncio.to_thread(lambda: context.host.engine(model))
    try:
        return await live.answer(content, engine)
    finally:
        if engine is not None:
            await engine.aclose()


async def _sent(context: CommandContext, reply: str) -> schema.PromptResponse:
    await context.live.say(reply)
    return schema.PromptResponse(stop_reason="end_turn")


def _split(text: str) -> tuple[str, str]:
    name, *arguments = text.lstrip().removeprefix("/").split(maxsplit=1) or [""]
    return name, "".join(arguments).strip()
