"""Slash commands about sessions: which one this is, which there are, what they are called."""

from __future__ import annotations

from dataclasses import replace

from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionExists, SessionNotFound, UsageError
from omniagent_cli.models import check_session_id, new_session_id
from omniagent_cli.repl.chat import Chat, Removed
from omniagent_cli.repl.naming import meant
from omniagent_cli.repl.picker import NothingToPick, pick
from omniagent_cli.repl.registry import Count, NewId, SearchText, SessionId, Tag, Text, command
from omniagent_cli.repl.turns import check_position
from omniagent_cli.text import one_line
from omniagent_cli.ui.views import counted, hit_parts, quoted, session_table

_LISTED = 20


@command("new")
async def new(chat: Chat, session_id: NewId = "") -> None:
    """Begin another session; it comes into being with its first message.

    Without an id it gets one of its own. The session so far stays as it is, and /switch - goes back to it.
    """
    session_id = check_session_id(session_id) if session_id else new_session_id(utc_now())
    if await chat.call(chat.store.exists, session_id):
        raise SessionExists(
            f"there is already a session {quoted(session_id)}; /switch goes on with it",
            session_id=session_id,
        )
    await chat.enter(session_id)
    chat.terminal.note(f"{quoted(session_id)} begins with your next message")


@command("switch")
async def switch(chat: Chat, session_id: SessionId = "") -> None:
    """Go on with another session that exists; - is the one before this.

    The beginning of an id is enough when one session fits. Without an id you pick one: words narrow the list down.
    """
    if not session_id:
        session_id = await _picked(chat)
        if not session_id:
            return
    elif session_id in ("-", "@"):
        if chat.previous_id is None:
            raise UsageError("there is no session before this one in this chat")
        session_id = chat.previous_id
    else:
        session_id = await chat.call(meant, chat.store, session_id)
    if session_id == chat.session_id:
        chat.terminal.note(f"this is {quoted(session_id)} already")
        return
    await chat.enter(session_id)
    await chat.follow_model()
    what = counted(chat.message_count, "message")
    chat.terminal.note(f"this is {quoted(session_id)} now, with {what}")
    await chat.show_last_turn()


async def _picked(chat: Chat) -> str:
    """Let the person pick a session; empty when they leave it, or there is none."""
    spoken = chat.settings.chat.screen_reader
    try:
        picked = await pick(chat.store, chat.terminal, ask=chat.ask, spoken=spoken)
    except NothingToPick as error:
        chat.terminal.note(str(error))
        return ""
    if picked is None:
        chat.terminal.note(f"this is {quoted(chat.session_id)} still")
    return picked or ""


@command("sessions")
async def sessions(chat: Chat, query: SearchText = "", *, tag: Tag = "") -> None:
    """List the sessions used last, or those whose id or title has the words.

    --tag lists only those with a tag.
    """
    tags = [tag] if tag else []
    page = await chat.call(chat.store.list, limit=None if query else _LISTED, tags=tags)
    wanted = query.casefold().split()
    found = [
        summary
        for summary in page
        if all(word in f"{summary.id} {summary.title}".casefold() for word in wanted)
    ]
    if not found:
        chat.terminal.note("no session fits" if query or tag else "there are no sessions yet")
        return
    chat.terminal.table(session_table(found[:_LISTED], utc_now()))
    if page.next_cursor or len(found) > _LISTED:
        chat.terminal.note("there are more; /sessions WORDS looks for some of them")


@command("search")
async def search(chat: Chat, query: SearchText) -> None:
    """Find messages in all sessions, newest first.

    Every word must occur; "a phrase" is words in a row, and pre* begins a word.
    """
    hits = await chat.call(chat.store.search, query)
    if not hits:
        chat.terminal.note("nothing was found")
    for hit in hits:
        before, match, after = hit_parts(hit)
        place = chat.terminal.style(f"{one_line(hit.session_id)} #{hit.position}", "cyan")
        bold = chat.terminal.style(match, "bold")
        chat.terminal.line(f"{place} {hit.role}: {before}{bold}{after}")
    if not hits.complete:
        chat.terminal.note("there are more; add a word to narrow it down")


@command("title")
async def title(chat: Chat, text: Text = "") -> None:
    """Show the session's title, or give it one."""
    if not text:
        chat.terminal.line(one_line(chat.title) or "(no title)")
        return
    await chat.call(chat.store.set_title, chat.session_id, text)
    await chat.refresh()
    chat.terminal.note(f"the title is now {one_line(chat.title)}")


@command("rename")
async def rename(chat: Chat, new_id: NewId) -> None:
    """Give this session another id; everything else of it stays."""
    check_session_id(new_id)
    old = chat.session_id
    if await chat.call(chat.store.exists, old):
        await chat.call(chat.store.rename, old, new_id)
    elif await chat.call(chat.store.exists, new_id):
        raise SessionExists(f"there is already a session {quoted(new_id)}", session_id=new_id)
    previous = chat.previous_id
    await chat.enter(new_id)
    chat.previous_id = previous
    if chat.removed and chat.removed.session_id == old:
        chat.removed = replace(chat.removed, session_id=new_id)
    chat.terminal.note(f"{quoted(old)} is called {quoted(new_id)} now")


@command("fork")
async def fork(chat: Chat, new_id: NewId = "", *, at: Count | None = None) -> None:
    """Copy this session and go on in the copy; --at N copies up to and including message #N."""
    await chat.call(check_position, chat.store, chat.session_id, at)
    copy = await chat.call(chat.store.fork, chat.session_id, new_id or None, at=at)
    await chat.enter(copy)
    chat.terminal.note(
        f"this is {quoted(copy)} now, a copy with {counted(chat.message_count, 'message')}; /switch - goes back"
    )


@command("delete")
async def delete(chat: Chat) -> None:
    """Delete this session after asking, and begin another; /undo brings it back."""
    session_id = chat.session_id
    if not await chat.call(chat.store.exists, session_id):
        raise SessionNotFound(
            f"there is nothing to delete: {quoted(session_id)} has no messages yet",
            session_id=session_id,
        )
    await chat.refresh()
    count = chat.message_count
    if not await chat.confirm(f"Delete {quoted(session_id)} with {counted(count, 'message')}?"):
        chat.terminal.note("nothing was deleted")
        return
    await chat.call(chat.store.delete, session_id)
    previous = chat.previous_id
    await chat.enter(new_session_id(utc_now()))
    chat.previous_id = previous
    chat.took(Removed(session_id, "deleted", count))
