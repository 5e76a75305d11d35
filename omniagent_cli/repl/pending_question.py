"""Questions that the end of the chat overtakes: said, and not yet asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from omniagent_cli.models import Content
from omniagent_cli.repl.chat import Chat


async def keep_question(chat: Chat, content: Content) -> None:
    """Store a question that nobody will answer now, as one that was interrupted, so that ``/retry`` asks it.

    Raises:
        StoreError: it could not be stored.
    """
    from omniagent_cli.agent.transcript import SessionTranscript

    with ThreadPoolExecutor(1) as worker:
        rollover = chat.agent.rollover if chat.agent else None
        transcript = SessionTranscript(chat.store, chat.session_id, worker, rollover=rollover)
        await transcript.begin(content)
        await transcript.fail("interrupted", "interrupted")
    chat.setup.remember(transcript.session_id)
