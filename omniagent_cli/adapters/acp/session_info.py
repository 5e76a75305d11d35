"""Sessions as the protocol describes them: pages of a listing, titles and context use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from acp import RequestError, schema

from omniagent_cli.agent.context.context_use import context_use
from omniagent_cli.stores.backend import Cursor

if TYPE_CHECKING:
    from omniagent_cli.agent.context.window import Window
    from omniagent_cli.stores.store import SessionStore

PAGE = 50
"""Sessions in one page of a listing."""

CWD = "cwd"
"""The metadata key of the directory in which an editor started the session."""


def session_page(
    store: SessionStore, cwd: str | None, cursor: str | None
) -> schema.ListSessionsResponse:
    """Return a page of sessions by last activity; with `cwd`, those of that directory and those without one.

    Raises:
        RequestError: the cursor is invalid.
    """
    after = _cursor(cursor)
    found: list[schema.SessionInfo] = []
    while len(found) < PAGE:
        page = store.list(limit=PAGE - len(found), cursor=after, damaged=[])
        for each in page:
            where = each.metadata.get(CWD)
            where = where if isinstance(where, str) else None
            if cwd is None or where in (None, cwd):
                found.append(_info(each, where or cwd or "/"))
        after = page.next_cursor
        if after is None:
            break
    return schema.ListSessionsResponse(
        sessions=found, next_cursor=None if after is None else json.dumps(after)
    )


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        pinned, key, session_id = json.loads(text)
    except (ValueError, TypeError):
        raise RequestError(-32602, "invalid cursor") from None
    return Cursor(bool(pinned), key, str(session_id))


def _info(summary: Any, cwd: str) -> schema.SessionInfo:
    return schema.SessionInfo(
        session_id=summary.id,
        cwd=cwd,
        title=summary.title or None,
        updated_at=summary.updated_at.isoformat(),
    )


def info_updates(store: SessionStore, session_id: str, window: Window) -> Iterator[Any]:
    """Yield the updates of a session's title, time and context use.

    The protocol requires the size of the context, which is known only if the window has a token budget.

    Raises:
        SessionNotFound: the session does not exist.
    """
    summary = store.summary(session_id)
    yield schema.SessionInfoUpdate(
        session_update="session_info_update",
        title=summary.title or None,
        updated_at=summary.updated_at.isoformat(),
    )
    if window.max_tokens is not None and (use := context_use(store, session_id, window)):
        yield schema.UsageUpdate(
            session_update="usage_update", used=use.tokens, size=window.max_tokens
        )
