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
    from omniagent_cli.models import SessionSummary
    from omniagent_cli.stores.store import SessionStore

PAGE = 50
"""Sessions in one page of a listing."""


def session_page(
    store: SessionStore, cwd: str | None, cursor: str | None
) -> schema.ListSessionsResponse:
    """Return a page of sessions by last activity; with `cwd`, those that began in that directory.

    Raises:
        RequestError: the cursor is invalid.
    """
    page = store.list(limit=PAGE, cursor=_cursor(cursor), cwd=cwd, damaged=[])
    after = page.next_cursor
    return schema.ListSessionsResponse(
        sessions=[_info(summary, cwd or "/") for summary in page],
        next_cursor=None if after is None else json.dumps(after),
    )


def _cursor(text: str | None) -> Cursor | None:
    if text is None:
        return None
    try:
        pinned, key, session_id = json.loads(text)
    except (ValueError, TypeError):
        raise RequestError(-32602, "invalid cursor") from None
    return Cursor(bool(pinned), key, str(session_id))


def _info(summary: SessionSummary, default_cwd: str) -> schema.SessionInfo:
    cwd = summary.origin.get("cwd")
    return schema.SessionInfo(
        session_id=summary.id,
        cwd=cwd if isinstance(cwd, str) else default_cwd,  # an import may hold any JSON value
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
