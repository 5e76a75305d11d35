"""Storage of a question whose request was not sent before the chat ended."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from omniagent_cli.models import Content
from omniagent_cli.repl.chat import Chat


async def keep_question(chat: Chat, content: Content) -> None:
    """Store an unsent question with status ``interrupted``, so that ``/retry`` sends it.

    Raises:
        StoreError: it could not be stored.
    """
    from omniagent_cli.agent.transcript import SessionTranscript

    with ThreadPoolExecutor(1) as worker:
        agent = chat.agent
        transcript = SessionTranscript(
            chat.store,
            chat.session_id,
            worker,
            origin=agent.origin if agent else None,
            rollover=agent.rollover if agent else None,
        )
        await transcript.begin(content)
        await transcript.fail("interrupted", "interrupted")
    chat.setup.remember(transcript.session_id)
