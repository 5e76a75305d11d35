"""MCP resources for sessions: URIs, paging, and content as JSON lines or Markdown."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from omniagent_cli.errors import InvalidRecord, UsageError
from omniagent_cli.formats import open_exporter
from omniagent_cli.formats.types import OutgoingSession
from omniagent_cli.json_format import dump, parse_time
from omniagent_cli.models import Session, check_session_id
from omniagent_cli.stores import SessionStore
from omniagent_cli.stores.backend import Cursor
from omniagent_cli.stores.operations.read import SessionPage

ROOT = "omniagent://sessions/"
PAGE = 100

MAX_CONTENT_BYTES = 1_000_000
"""The maximum bytes of a resource; a larger session is cut to its newest messages."""

_AT_ONCE = 100
_HERE_ONLY = ("uid", "expires_at")


class Form(NamedTuple):
    """A representation of a session.

    Attributes:
        query: the query part of its URI.
    """

    format: str
    query: str
    mime_type: str
    title: str
    description: str


FORMS = (
    Form(
        "jsonl",
        "",
        "application/jsonl",
        "A session as JSON lines",
        "a header line, then one line per message, newest last; the export format of omniagent",
    ),
    Form(
        "markdown",
        "?format=markdown",
        "text/markdown",
        "A session to read",
        "a conversation as Markdown, newest message last",
    ),
)


class Content(NamedTuple):
    """The content of a resource.

    Attributes:
        omitted: the number of older messages that did not fit.
    """

    text: str
    mime_type: str
    omitted: int


def address_of(session_id: str, form: Form = FORMS[0]) -> str:
    """Return the URI of a session; all special characters are percent-encoded."""
    name = quote(session_id, safe="")
    if not session_id.strip("."):
        name = session_id.replace(".", "%2E")  # a single dot is a path segment
    return f"{ROOT}{name}{form.query}"


def template(form: Form) -> str:
    """Return the URI template of sessions (RFC 6570)."""
    return f"{ROOT}{{id}}{form.query}"


def read(store: SessionStore, address: str) -> Content:
    """Return the content of a resource.

    Raises:
        UsageError: the URI does not name a session.
        SessionNotFound: the session does not exist.
    """
    session_id, form = _parsed(address)
    session = store.header(session_id)
    messages, omitted = _newest(store, session_id)
    header = _header(session, len(messages), omitted)
    pieces = list(open_exporter(form.format).write([OutgoingSession(header, iter(messages))]))
    if omitted and form.format == "markdown":
        pieces.insert(1, f"\n*{omitted} older messages were left out.*\n".encode())
    return Content(b"".join(pieces).decode(), form.mime_type, omitted)


def _parsed(address: str) -> tuple[str, Form]:
    name, mark, query = address.removeprefix(ROOT).partition("?")
    form = next((form for form in FORMS if form.query == mark + query), None)
    if (mark + query) == "?format=jsonl":
        form = FORMS[0]
    if not address.startswith(ROOT) or form is None:
        known = " and ".join(template(form) for form in FORMS)
        raise UsageError(f"unknown resource; valid URIs are {known}")
    try:
        return check_session_id(unquote(name, errors="strict")), form
    except UnicodeDecodeError as error:
        raise UsageError("the session id in this URI must be percent-encoded UTF-8") from error


def _header(session: Session, count: int, omitted: int) -> dict[str, Any]:
    record = {k: v for k, v in session.header_record().items() if k not in _HERE_ONLY}
    record["message_count"] = count
    return {**record, "omitted_messages": omitted} if omitted else record


def _newest(store: SessionStore, session_id: str) -> tuple[list[dict[str, Any]], int]:
    """Return the newest messages that fit, oldest first, and the number of the others."""
    total = store.count_messages(session_id)
    room = MAX_CONTENT_BYTES
    kept: list[dict[str, Any]] = []
    before: int | None = None
    while chunk := store.messages(session_id, last=_AT_ONCE, before=before):
        for message in reversed(chunk):
            room -= len(dump(message.record))
            if room < 0:
                return kept[::-1], max(1, total - len(kept))
            kept.append(message.record)
        before = chunk[0].position
    return kept[::-1], 0


def listed(store: SessionStore, cursor: str | None) -> tuple[SessionPage, str | None]:
    """Return a page of sessions, last used first, and the cursor of the next page.

    Raises:
        UsageError: the cursor is invalid.
    """
    page = store.list(limit=PAGE, cursor=None if cursor is None else _cursor(cursor), damaged=[])
    following = page.next_cursor
    if following is None:
        return page, None
    return page, urlsafe_b64encode(dump(list(following))).decode()


def _cursor(text: str) -> Cursor:
    try:
        pinned, key, session_id = json.loads(urlsafe_b64decode(text.encode()))
        if isinstance(pinned, bool) and parse_time(key):
            return Cursor(pinned, key, check_session_id(session_id))
    except (ValueError, TypeError, RecursionError, InvalidRecord, UsageError):
        pass
    raise UsageError("invalid cursor; start without one")
