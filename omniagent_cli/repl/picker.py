"""The session picker: by typing and arrow keys on its own screen, or by number in a list."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from omniagent_cli.durations import describe_age, utc_now
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import SessionSummary
from omniagent_cli.repl.echo_guard import handled
from omniagent_cli.repl.picker_model import SessionChoices
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore
    from omniagent_cli.ui.terminal import Terminal

Ask = Callable[[str], Awaitable[str | None]]

_LISTED = 20
_QUESTION = "Number of a session, or words to search for (Enter to cancel): "


class NothingToPick(OmniAgentError):
    """Raised when there are no sessions to pick from."""


async def pick(
    store: SessionStore, terminal: Terminal, *, ask: Ask, spoken: bool = False
) -> str | None:
    """Show the picker and return the id of the chosen session; None if it is canceled.

    Args:
        store: the store with the sessions; archived ones are not shown.
        terminal: the terminal to show it on.
        ask: asks for a line, where no full-screen picker is possible.
        spoken: use the numbered list, for screen readers.

    Raises:
        NothingToPick: there are no sessions.
        StoreError: the sessions cannot be listed.
    """
    choices = SessionChoices(store)
    choices.add(await asyncio.to_thread(choices.read_page))
    if not choices.count:
        raise NothingToPick("No sessions yet; your first message creates one")
    if spoken or terminal.is_dumb or not (terminal.is_terminal and terminal.reads_terminal):
        return await _by_number(choices, terminal, ask)
    from omniagent_cli.repl.picker_screen import PickerScreen

    return await PickerScreen(choices, terminal).run()


def run_picker(store: SessionStore, terminal: Terminal, *, spoken: bool = False) -> str | None:
    """Run `pick` in an event loop of its own, before the chat starts.

    Raises:
        NothingToPick: there are no sessions.
        StoreError: the sessions cannot be listed.
    """
    from prompt_toolkit.shortcuts import PromptSession

    from omniagent_cli.repl.prompt import configure_output

    async def ask(question: str) -> str | None:
        session: PromptSession[str] = PromptSession()
        try:
            return await session.prompt_async(question, handle_sigint=False)
        except (KeyboardInterrupt, EOFError):
            return None

    with configure_output(terminal, plain=spoken):
        try:
            return asyncio.run(_until_ended(pick(store, terminal, ask=ask, spoken=spoken)))
        except asyncio.CancelledError:
            signal.raise_signal(signal.SIGTERM)  # to the previous handler
            raise


async def _until_ended(work: Coroutine[Any, Any, str | None]) -> str | None:
    """Cancel the work on SIGTERM, which restores the screen; an exception from a signal handler would not."""
    task = asyncio.ensure_future(work)
    loop, before = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)
    handled(loop, signal.SIGTERM, task.cancel)
    try:
        return await task
    finally:
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


async def _by_number(choices: SessionChoices, terminal: Terminal, ask: Ask) -> str | None:
    """Show a numbered list and ask until a session is chosen or the user cancels."""
    while True:
        shown = choices.fitting[:_LISTED]
        for number, summary in enumerate(shown, 1):
            terminal.line(f"{number}. {_spoken_row(summary)}")
        if len(choices.fitting) > len(shown) or not choices.complete:
            terminal.note("More sessions exist; type words to search for them")
        wanted = (await ask(_QUESTION) or "").strip()
        if not wanted:
            return None
        if wanted.isdecimal() and 1 <= int(wanted) <= len(shown):
            return shown[int(wanted) - 1].id
        while not choices.complete:
            choices.add(await asyncio.to_thread(choices.read_page))
        choices.choose(wanted)
        if not choices.fitting:
            terminal.note(f"No session matches {one_line(wanted)}")
            choices.choose("")


def _spoken_row(summary: SessionSummary) -> str:
    """Return the row of a session for screen readers."""
    what = [one_line(summary.title or summary.preview), one_line(summary.id)]
    what += [describe_age(summary.updated_at, utc_now()), counted(summary.message_count, "message")]
    what += ["pinned"] if summary.pinned else []
    return ", ".join(part for part in dict.fromkeys(what) if part)
