"""Slash commands for sessions: start, switch, list, search, name, fork, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from omniagent_cli import parsing
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionExists, SessionNotFound, UsageError
from omniagent_cli.models import ROLES, SessionSummary, check_session_id, new_session_id
from omniagent_cli.repl.chat import Chat, Removed
from omniagent_cli.repl.fork_points import check_position
from omniagent_cli.repl.picker import NothingToPick, pick
from omniagent_cli.repl.recap import show_recap
from omniagent_cli.repl.registry import (
    Age,
    Count,
    Flag,
    NewId,
    Pairs,
    Role,
    SearchText,
    SessionId,
    SortKey,
    Tags,
    Text,
    Time,
    command,
)
from omniagent_cli.repl.session_lookup import resolve_session
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.search_view import hit_rows
from omniagent_cli.ui.views import counted, quoted, session_table

_LISTED = 20


@command("new")
async def new(chat: Chat, session_id: NewId = "") -> None:
    """Start a new session; its first message creates it.

    Without an id, one is generated. /switch - returns to the previous session.
    """
    session_id = check_session_id(session_id) if session_id else new_session_id(utc_now())
    if await chat.call(chat.store.exists, session_id):
        raise SessionExists(
            f"a session already exists: {quoted(session_id)}. /switch opens it",
            session_id=session_id,
        )
    await chat.enter(session_id)
    chat.terminal.note(f"{quoted(session_id)} will be created by your next message")


@command("switch")
async def switch(chat: Chat, session_id: SessionId = "") -> None:
    """Switch to another existing session; - is the previous one.

    A unique prefix of the id is enough. Without an id, pick one from a list.
    """
    if not session_id:
        session_id = await _picked(chat)
        if not session_id:
            return
    elif session_id in ("-", "@"):
        if chat.previous_id is None:
            raise UsageError("there is no previous session in this chat")
        session_id = chat.previous_id
    else:
        session_id = await chat.call(resolve_session, chat.store, session_id)
    if session_id == chat.session_id:
        chat.terminal.note(f"Already in {quoted(session_id)}")
        return
    await chat.enter(session_id)
    await chat.follow_model()
    what = counted(chat.message_count, "message")
    chat.terminal.note(f"Switched to {quoted(session_id)} ({what})")
    await show_recap(chat)


async def _picked(chat: Chat) -> str:
    """Show the picker; return an empty string if it was canceled or there are no sessions."""
    spoken = chat.settings.chat.screen_reader
    try:
        picked = await pick(chat.store, chat.terminal, ask=chat.ask, spoken=spoken)
    except NothingToPick as error:
        chat.terminal.note(str(error))
        return ""
    if picked is None:
        chat.terminal.note(f"Still in {quoted(chat.session_id)}")
    return picked or ""


@command("sessions")
async def sessions(
    chat: Chat,
    query: SearchText = "",
    *,
    limit: Count = _LISTED,
    all_: Flag = False,
    sort: SortKey = "updated",
    meta: Pairs = (),
    tag: Tags = (),
    since: Time = "",
    until: Time = "",
    older_than: Age = "",
    archived: Flag = False,
) -> None:
    """List the most recent sessions, or those whose id or title contains the words.

    Options are those of omniagent sessions list: /sessions --tag work --since 7d
    """
    parsing.check_not_negative(limit, "--limit")
    filters = parsing.session_filters(meta, tag, since, until, older_than)
    page = await chat.call(
        chat.store.list,
        limit=None if query or all_ else limit,
        sort=sort,
        archived=None if all_ else archived,
        **filters,
    )
    found = _with_words(page, query)
    if not found:
        narrowed = query or meta or tag or since or until or older_than or archived
        chat.terminal.note("No session matches" if narrowed else "No sessions yet")
        return
    shown = found if all_ else found[:limit]
    chat.terminal.table(session_table(shown, utc_now(), chat.terminal.width))
    if page.next_cursor or len(found) > len(shown):
        chat.terminal.note("More sessions exist; use /sessions WORDS to filter, or --all")


def _with_words(page: Sequence[SessionSummary], query: str) -> list[SessionSummary]:
    wanted = query.casefold().split()
    return [s for s in page if all(word in f"{s.id} {s.title}".casefold() for word in wanted)]


@command("search")
async def search(
    chat: Chat,
    query: SearchText,
    *,
    session: SessionId = "",
    role: Role = "",
    since: Time = "",
    until: Time = "",
    tag: Tags = (),
    meta: Pairs = (),
    limit: Count = _LISTED,
) -> None:
    """Search messages of all sessions, newest first.

    Every word must occur; "a phrase" matches consecutive words, pre* a prefix. --session ID searches one session
    (@ is this one), --role ROLE only messages of user, assistant, tool or system. --since and --until TIME, --tag TAG
    and --meta K=V filter too.
    """
    parsing.check_not_negative(limit, "--limit")
    if role:
        parsing.check_choice(role, ROLES, "--role")
    if session:
        session = (
            chat.session_id
            if session == "@"
            else await chat.call(resolve_session, chat.store, session)
        )
    hits = await chat.call(
        chat.store.search,
        query,
        session_id=session or None,
        role=role or None,
        limit=limit,
        **parsing.session_filters(meta, tag, since, until, ""),
    )
    if not hits:
        chat.terminal.note("No matches")
    terminal = chat.terminal
    for row in hit_rows(hits, style=terminal.style, width=terminal.prose_width, now=utc_now()):
        terminal.line(row)
    if not hits.complete:
        chat.terminal.note("More matches exist; add a word, or use --limit N")


@command("title")
async def title(chat: Chat, text: Text = "") -> None:
    """Show the session's title, or set it, which creates the session."""
    if not text:
        chat.terminal.line(one_line(chat.title) or "(no title)")
        return
    await chat.call(chat.store.get_or_create, chat.session_id)
    await chat.call(chat.store.set_title, chat.session_id, text)
    await chat.refresh()
    chat.terminal.note(f"Title set: {one_line(chat.title)}")


@command("rename")
async def rename(chat: Chat, new_id: NewId) -> None:
    """Change the id of this session; everything else stays the same."""
    check_session_id(new_id)
    old = chat.session_id
    if await chat.call(chat.store.exists, old):
        await chat.call(chat.store.rename, old, new_id)
    elif await chat.call(chat.store.exists, new_id):
        raise SessionExists(f"a session already exists: {quoted(new_id)}", session_id=new_id)
    previous = chat.previous_id
    await chat.enter(new_id)
    chat.previous_id = previous
    if chat.removed and chat.removed.session_id == old:
        chat.removed = replace(chat.removed, session_id=new_id)
    chat.terminal.note(f"Renamed {quoted(old)} to {quoted(new_id)}")


@command("fork")
async def fork(chat: Chat, new_id: NewId = "", *, at: Count | None = None) -> None:
    """Fork this session and switch to the fork; --at N copies up to and including message #N."""
    await chat.call(check_position, chat.store, chat.session_id, at)
    copy = await chat.call(chat.store.fork, chat.session_id, new_id or None, at=at)
    await chat.enter(copy)
    chat.terminal.note(
        f"Forked to {quoted(copy)} ({counted(chat.message_count, 'message')}). /switch - returns"
    )


@command("delete")
async def delete(chat: Chat, session_id: SessionId = "", *, yes: Flag = False) -> None:
    """Delete this session after confirmation and start a new one; /undo restores it.

    Another session is given by its full id; the chat then stays in this one. --yes skips the confirmation.
    """
    if session_id and session_id != chat.session_id:
        await _delete_other(chat, session_id, yes=yes)
        return
    session_id = chat.session_id
    if not await chat.call(chat.store.exists, session_id):
        raise SessionNotFound(
            f"nothing to delete: {quoted(session_id)} has no messages yet",
            session_id=session_id,
        )
    await chat.refresh()
    count = chat.message_count
    if not await _sure(chat, session_id, count, yes=yes):
        return
    await chat.call(chat.store.delete, session_id)
    previous = chat.previous_id
    await chat.enter(new_session_id(utc_now()))
    chat.previous_id = previous
    chat.took(Removed(session_id, "deleted", count))


async def _delete_other(chat: Chat, session_id: str, *, yes: bool) -> None:
    if not await chat.call(chat.store.exists, session_id):
        whole = await chat.call(
            resolve_session, chat.store, session_id
        )  # otherwise the error lists close matches
        raise UsageError(f"/delete takes full ids only; {quoted(whole)} is one")
    count = (await chat.call(chat.store.summary, session_id)).message_count
    if await _sure(chat, session_id, count, yes=yes):
        await chat.call(chat.store.delete, session_id)
        chat.took(Removed(session_id, "deleted", count, elsewhere=True))


async def _sure(chat: Chat, session_id: str, count: int, *, yes: bool) -> bool:
    asked = f"Delete {quoted(session_id)} with {counted(count, 'message')}?"
    if yes or await chat.confirm(asked):
        return True
    chat.terminal.note("Nothing deleted")
    return False
