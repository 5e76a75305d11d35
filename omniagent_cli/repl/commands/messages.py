"""Slash commands for messages: read, remove and restore them."""

from __future__ import annotations

from omniagent_cli.agent.context.summary import summary_of
from omniagent_cli.agent.events import Engine
from omniagent_cli.agent.last_turn import last_turn, remove_turn, undo_turn
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.models import Message, new_session_id, plain_text, reworded
from omniagent_cli.repl import attaching
from omniagent_cli.repl.chat import Chat, Removed, ResumedTurn
from omniagent_cli.repl.fork_points import fork_before
from omniagent_cli.repl.registry import Count, ModelName, Text, command
from omniagent_cli.stores.operations.trash import TrashEntry
from omniagent_cli.ui.views import counted, quoted

_SHOWN = 20


@command("history")
async def history(chat: Chat, last: Count = _SHOWN) -> None:
    """Show the last messages with their numbers."""
    if last < 1:
        raise UsageError(f"cannot show {last} messages; N must be 1 or more")
    try:
        messages = await chat.call(chat.store.messages, chat.session_id, last=last)
    except SessionNotFound:
        messages = []
    if not messages:
        chat.terminal.note("This session has no messages yet")
    summary = await chat.call(summary_of, chat.store, chat.session_id)
    for message in messages:
        chat.show(message)
        if summary is not None and message.position == summary.up_to:
            chat.show_summary(summary)
    await chat.refresh()
    if chat.message_count > len(messages) > 0:
        chat.terminal.note(f"The last {len(messages)} of {chat.message_count} messages")


@command("clear")
async def clear(chat: Chat) -> None:
    """Remove all messages of this session but keep the session; /undo restores them."""
    gone = await chat.call(chat.store.clear, chat.session_id)
    chat.took(Removed(chat.session_id, "cleared", gone))


@command("trim")
async def trim(chat: Chat, keep: Count) -> None:
    """Keep the last N messages of this session; /undo restores the others."""
    gone = await chat.call(chat.store.trim, chat.session_id, keep)
    chat.took(Removed(chat.session_id, "trimmed", gone))


@command("undo")
async def undo(chat: Chat) -> None:
    """Remove your last turn, or restore what the last command removed; again: one turn more. /redo is the opposite.

    Messages of other programs are kept.
    """
    removed = chat.removed
    if removed is not None:
        chat.removed = None
        entry = await chat.call(chat.store.restore, removed.session_id)
        await _back(chat, entry, elsewhere=removed.elsewhere)
        return
    turn = await _own_turn(chat, "undo")
    count, uid = await chat.call(undo_turn, chat.store, chat.session_id, turn)
    if uid is not None:
        chat.undone.append(uid)
    again = "; /redo restores it" if uid else ", permanently, because sessions.trash_ttl is 0"
    chat.terminal.note(f"{counted(count, 'message')} undone{again}")


@command("redo")
async def redo(chat: Chat) -> None:
    """Restore the turn that the last /undo removed; again: the one before."""
    if not chat.undone:
        raise UsageError("nothing to redo; to see all removed messages: omniagent sessions trash")
    uid = chat.undone.pop()
    entry = await chat.call(lambda: chat.store.restore(uid=uid))
    await _back(chat, entry)


async def _back(chat: Chat, entry: TrashEntry, *, elsewhere: bool = False) -> None:
    if not elsewhere:
        await chat.enter(entry.session_id)
    chat.terminal.note(
        f"{counted(entry.message_count, 'message')} of {quoted(entry.session_id)} "
        f"{'is' if entry.message_count == 1 else 'are'} back"
    )


async def _own_turn(chat: Chat, verb: str) -> list[Message]:
    """Return the last turn of this chat, or else of the session, question first.

    Raises:
        UsageError: the session has no question.
    """
    turn = await chat.call(last_turn, chat.store, chat.session_id, chat.own_turns)
    if not turn:
        raise UsageError(f"nothing to {verb}: this session has no question")
    return turn


@command("retry")
async def retry(chat: Chat, *, model: ModelName = "") -> None:
    """Ask the last question again; -m MODEL uses another model for this turn.

    The previous answer goes to the trash; `omniagent sessions restore` restores it.
    """
    turn = await _own_turn(chat, "retry")

    async def ask_again(engine: Engine | None) -> None:
        await chat.call(remove_turn, chat.store, chat.session_id, turn, but_question=True)
        await chat.turn(turn[0].content, engine, resumed=ResumedTurn(turn[0].turn_id))

    await chat.with_model(model, ask_again)


@command("edit")
async def edit(chat: Chat, number: Count, text: Text = "") -> None:
    """Change message #N in a fork of the session and send it again.

    Without a text, edit the old one at the prompt. This session is not changed; /switch - returns to it.
    """
    message = await chat.call(_question_at, chat, number)
    edited = text or await chat.ask("edit> ", plain_text(message.content))
    if not (edited or "").strip():
        chat.terminal.note("Nothing changed")
        return
    content = await chat.call(attaching.with_attachment_data, chat, message.content)
    copy = await chat.call(fork_before, chat.store, chat.session_id, message)
    copy = copy or new_session_id(utc_now())
    await chat.enter(copy)
    chat.terminal.note(f"Forked to {quoted(copy)}. /switch - returns")
    await chat.turn(reworded(content, edited or ""))


def _question_at(chat: Chat, number: int) -> Message:
    found = chat.store.messages(chat.session_id, after=number - 1, before=number + 1)
    if not found or found[0].role != "user":
        raise UsageError(
            f"message #{number} is not one of your questions; /history shows the numbers"
        )
    return found[0]
