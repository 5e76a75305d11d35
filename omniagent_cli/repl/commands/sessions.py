"""Slash commands about sessions: which one this is, which there are, what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from omniagent_cli import parsing as given
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionExists, SessionNotFound, UsageError
from omniagent_cli.models import ROLES, SessionSummary, check_session_id, new_session_id
from omniagent_cli.repl.chat import Chat, Removed
from omniagent_cli.repl.last_turn import check_position
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
from omniagent_cli.repl.session_lookup import meant
from omniagent_cli.text.sanitize import one_line
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
    await show_recap(chat)


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
    """List the sessions used last, or those whose id or title has the words.

    The options are those of omniagent sessions list: /sessions --tag work --since 7d
    """
    given.not_negative(limit, "--limit")
    if until and older_than:
        raise UsageError("--until and --older-than say the same; give one of them")
    before = given.moment_before(older_than, "--older-than") if older_than else None
    page = await chat.call(
        chat.store.list,
        limit=None if query or all_ else limit,
        sort=sort,
        metadata=given.pairs(meta, "--meta"),
        tags=tag,
        since=given.moment(since, "--since") if since else None,
        until=given.moment(until, "--until") if until else before,
        archived=None if all_ else archived,
    )
    found = _with_words(page, query)
    if not found:
        narrowed = query or meta or tag or since or until or older_than or archived
        chat.terminal.note("no session fits" if narrowed else "there are no sessions yet")
        return
    shown = found if all_ else found[:limit]
    chat.terminal.table(session_table(shown, utc_now()))
    if page.next_cursor or len(found) > len(shown):
        chat.terminal.note(
            "there are more; /sessions WORDS looks for some of them, --all shows all"
        )


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
    limit: Count = _LISTED,
) -> None:
    """Find messages in all sessions, newest first.

    Every word must occur; "a phrase" is words in a row, and pre* begins a word. --session ID looks in one session
    only (@ is this one), --role ROLE only in what one of user, assistant, tool or system said.
    """
    given.not_negative(limit, "--limit")
    if role:
        given.one_of(role, ROLES, "--role")
    if session:
        session = chat.session_id if session == "@" else await chat.call(meant, chat.store, session)
    hits = await chat.call(
        chat.store.search, query, session_id=session or None, role=role or None, limit=limit
    )
    if not hits:
        chat.terminal.note("nothing was found")
    for hit in hits:
        before, match, after = hit_parts(hit)
        place = chat.terminal.style(f"{one_line(hit.session_id)} #{hit.position}", "cyan")
        bold = chat.terminal.style(match, "bold")
        chat.terminal.line(f"{place} {hit.role}: {before}{bold}{after}")
    if not hits.complete:
        chat.terminal.note("there are more; add a word to narrow it down, or --limit N shows them")


@command("title")
async def title(chat: Chat, text: Text = "") -> None:
    """Show the session's title, or give it one, which brings the session into being."""
    if not text:
        chat.terminal.line(one_line(chat.title) or "(no title)")
        return
    await chat.call(chat.store.get_or_create, chat.session_id)
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
async def delete(chat: Chat, session_id: SessionId = "", *, yes: Flag = False) -> None:
    """Delete this session after asking, and begin another; /undo brings it back.

    Another session is named by its whole id, and this one goes on. --yes does not ask.
    """
    if session_id and session_id != chat.session_id:
        await _delete_other(chat, session_id, yes=yes)
        return
    session_id = chat.session_id
    if not await chat.call(chat.store.exists, session_id):
        raise SessionNotFound(
            f"there is nothing to delete: {quoted(session_id)} has no messages yet",
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
        whole = await chat.call(meant, chat.store, session_id)  # or it says what is close
        raise UsageError(f"/delete takes whole ids only; {quoted(whole)} is one")
    count = (await chat.call(chat.store.summary, session_id)).message_count
    if await _sure(chat, session_id, count, yes=yes):
        await chat.call(chat.store.delete, session_id)
        chat.took(Removed(session_id, "deleted", count, elsewhere=True))


async def _sure(chat: Chat, session_id: str, count: int, *, yes: bool) -> bool:
    asked = f"Delete {quoted(session_id)} with {counted(count, 'message')}?"
    if yes or await chat.confirm(asked):
        return True
    chat.terminal.note("nothing was deleted")
    return False
