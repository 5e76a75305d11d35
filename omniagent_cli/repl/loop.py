"""The loop of a chat: read a line, run a turn or a command, print the result."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from omniagent_cli.agent.context.attachments import compose
from omniagent_cli.agent.events import Engine, TextDelta, TurnDone, TurnEvent
from omniagent_cli.agent.tools.permissions import PreapprovedTools
from omniagent_cli.errors import ConfigError, ModelError, OmniAgentError, StoreError
from omniagent_cli.models import Content
from omniagent_cli.repl import attaching, recovery
from omniagent_cli.repl.agent_startup import AgentStartup
from omniagent_cli.repl.approval import Approval, allow_permanently
from omniagent_cli.repl.chat import Chat, ChatExit, ChatSetup, ResumedTurn
from omniagent_cli.repl.completers import SlashCompleter
from omniagent_cli.repl.echo_guard import GONE, EchoGuard, discard_output, handled
from omniagent_cli.repl.pending_question import keep_question
from omniagent_cli.repl.prompt import Prompt, configure_output
from omniagent_cli.repl.recap import show_recap
from omniagent_cli.repl.server_consent import confirm_first_use
from omniagent_cli.repl.toolbar import Part, chat_parts
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.views import counted, quoted

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.ui.stream import StreamView

__all__ = ["ChatSetup", "Repl", "run"]

_QUESTION_SAVED = "The question is saved; /retry sends it again, /model NAME chooses another model"
_PARTIAL_SAVED = (
    "The partial answer is saved; /continue resumes it, /retry asks again, /model NAME chooses"
    " another model"
)
_LEAVING = frozenset({"exit", "quit", "q"})
_PATIENCE_SECONDS = 1.0
_SIGNALLED = 128


def run(setup: ChatSetup) -> int:
    """Run a chat until the user leaves; return the exit code.

    Raises:
        OmniAgentError: no model is available; raised before the first message.
    """
    with configure_output(setup.terminal, plain=setup.settings.chat.screen_reader):
        return asyncio.run(_run(setup))


async def _run(setup: ChatSetup) -> int:
    return await Repl(setup).run()


class Repl:
    """One run of the chat loop."""

    def __init__(self, setup: ChatSetup) -> None:
        self._setup = setup
        self._terminal = setup.terminal
        self._quiet = EchoGuard(setup.terminal.stdin)
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.Task[None] | None = None
        self._cancelled_at = 0.0
        self._ended_by = 0
        self._unsent: Content | None = None
        self._interrupted_between = False
        self._view: StreamView | None = None
        self._empty_interrupts = 0
        self.chat = Chat(setup, ask=self._ask)
        self.chat.turn = self.turn
        chat = setup.settings.chat
        self._prompt = Prompt(
            setup.terminal,
            history_file=None if setup.ephemeral else setup.history_file,
            completer=SlashCompleter(self.chat),
            toolbar=self._toolbar,
            multiline=lambda: self.chat.multiline,
            vi=chat.editing_mode == "vi",
            plain=chat.screen_reader,
        )
        self._keys = self._prompt.stream_keys(self._cancel)
        self._opening = AgentStartup(
            self.chat,
            self._prompt,
            approval=Approval(
                self._ask_approval,
                left=self._cancel,
                session=lambda: self.chat.session_id,
                keep=partial(allow_permanently, setup.settings),
                tell=self._print_during_answer,
                allowed=PreapprovedTools(frozenset(setup.settings.tools.allow), setup.yes_tools),
            ),
            busy=lambda: self._work is not None,
        )

    async def run(self) -> int:
        """Run the chat until the user leaves; return the exit code."""
        with self._signals(), self._quiet:
            try:
                await self._greet()
                await self._talk()
            finally:
                await self._close()
        if not self._ended_by:
            self._prompt.close()
            self._say_goodbye()
        try:
            self._terminal.stderr.flush()
            self._terminal.stdout.flush()
        except OSError:  # the window was closed without a signal
            discard_output(self._terminal)
        return _SIGNALLED + self._ended_by if self._ended_by else 0

    async def _greet(self) -> None:
        chat = self.chat
        await chat.look()
        if chat.message_count:
            chat.setup.remember(chat.session_id)
            title = one_line(chat.title)
            what = f"{quoted(chat.session_id)}: {counted(chat.message_count, 'message')}"
            self._terminal.note(f"{what}, {title}" if title else what)
            await show_recap(chat)
        if pending := attaching.waiting(chat):
            self._terminal.note(pending)
        self._terminal.note("/help lists the commands, Ctrl-D leaves")

    async def _talk(self) -> None:
        ready: Callable[[], None] | None = self._opening.begin
        while not self._ended_by:
            self._interrupted_between = False
            try:
                text = await self._prompt.read(ready)
            except KeyboardInterrupt:
                self._interrupted_at_prompt()
                continue
            except EOFError:
                return
            except GONE:  # the window was closed
                self._ended_by = self._ended_by or signal.SIGHUP
                return
            finally:
                ready = None
            self._empty_interrupts = 0
            try:
                await self._do(text)
            except ChatExit:
                return
            self._prompt.separate(text)

    # One line of input.

    async def _do(self, text: str) -> None:
        """Run a command or a turn that Ctrl-C cancels; its task may be cancelled before it begins."""
        self._unsent = self._content(text)
        self._work = asyncio.create_task(self._answer(text.strip(), self._unsent))
        self._cancelled_at = -_PATIENCE_SECONDS
        handled(self._loop, signal.SIGINT, self._interrupt)  # some prompts remove it
        between, self._interrupted_between = self._interrupted_between, False
        if between or self._prompt.was_interrupted() or self._ended_by:
            self._loop.call_soon(self._cancel)
        cancelled = False
        try:
            with self._quiet.suspendable(self._rendering_paused):
                await self._work
        except asyncio.CancelledError:
            if not self._work.cancelled():
                raise
            cancelled = True
        finally:
            self._work = None
        if cancelled or self._ended_by:
            await self._store_pending_question()
        self._unsent = None
        self._prompt.take_draft(self._keys, dropped=cancelled)

    async def _store_pending_question(self) -> None:
        """Store a message that was interrupted, by Ctrl-C or the end of the chat, before its request was sent."""
        content, self._unsent = self._unsent, None
        if content is None:
            return
        try:
            await keep_question(self.chat, content)
            self.chat.attached.clear()
            if not self._ended_by:
                await self.chat.look()
                self._terminal.note(
                    "Interrupted before the request was sent. The message is saved; /retry sends it"
                )
        except StoreError as error:
            self._terminal.error(str(error))
            self._recover(content, "")

    def _content(self, text: str) -> Content | None:
        """Return the content to send; None for a command, or without text."""
        line = text.strip()
        if line.startswith("//"):
            return compose(line[1:], self.chat.attached)
        if not line or line in _LEAVING or line.startswith("/"):
            return None
        return compose(text, self.chat.attached)

    async def _answer(self, line: str, content: Content | None) -> None:
        """Run a command or a turn, and print an error in one line."""
        if not line:
            return
        if line in _LEAVING:
            raise ChatExit
        try:
            if content is None:
                await self.chat.show_external_changes()
                from omniagent_cli.repl.commands import run_command

                await run_command(self.chat, line)
                await self.chat.refresh()
            else:
                await self.chat.ready_agent()  # Ctrl-C before this point keeps pending attachments
                self.chat.attached = []
                await self.turn(content)
        except OmniAgentError as error:
            if self.chat.opening.done() and self.chat.opening.exception() is error:
                raise
            self._terminal.error(str(error))

    async def turn(
        self, content: Content, engine: Engine | None = None, *, resumed: ResumedTurn | None = None
    ) -> None:
        """Run a turn, or resume one, printing the answer as it streams; a partial answer is kept."""
        chat = self.chat
        agent = await chat.ready_agent()
        chat.removed, chat.undone = None, []
        pieces: list[str] = []
        learn = chat.refresh
        try:
            if engine is None:
                await confirm_first_use(chat)
            await chat.show_external_changes()
            self._unsent = None
            await self._show(self._events(agent, content, engine, resumed), pieces, resumed)
        except StoreError as error:
            learn = chat.look  # a partial answer of this chat is not an external change
            self._terminal.error(str(error))
            self._recover(content, "".join(pieces))
        except OmniAgentError as error:
            self._terminal.error(str(error))
            if isinstance(error, ModelError):
                self._terminal.note(_PARTIAL_SAVED if pieces else _QUESTION_SAVED)
        except OSError:  # the window was closed; closing the turn stored the partial answer
            self._end(signal.SIGHUP)
        except Exception:  # a bug must not lose messages either
            self._recover(content, "".join(pieces))
            raise
        finally:  # also after a turn that Ctrl-C ended
            with suppress(StoreError):
                await learn()
            if chat.message_count:
                chat.setup.remember(chat.session_id)

    def _events(
        self, agent: Agent, content: Content, engine: Engine | None, resumed: ResumedTurn | None
    ) -> AsyncGenerator[TurnEvent, None]:
        session_id = self.chat.session_id
        if resumed is not None:
            return agent.continue_turn(session_id, resumed.turn_id, engine=engine)
        return agent.stream(content, session_id, engine=engine)

    async def _show(
        self,
        events: AsyncGenerator[TurnEvent, None],
        pieces: list[str],
        resumed: ResumedTurn | None = None,
    ) -> None:
        from omniagent_cli.ui.stream import StreamView
        from omniagent_cli.ui.turn_player import rendered_events

        look = self._setup.settings.chat
        view = self._view = StreamView(
            self._terminal, thinking=look.thinking, spoken=look.screen_reader
        )
        try:
            async with aclosing(rendered_events(events, view)) as shown:
                with view, self._keys.reading():
                    if resumed is not None and resumed.tail:
                        view.feed(TextDelta(resumed.tail))
                    async for event in shown:
                        if isinstance(event, TextDelta):
                            pieces.append(event.text)
                        elif isinstance(event, TurnDone):
                            await self._follow(event.session_id)
        except asyncio.CancelledError:
            view.abort(
                "Interrupted. The partial answer is saved; /continue resumes it"
                if pieces
                else "Interrupted"
            )
            raise

    async def _follow(self, session_id: str) -> None:
        """Switch to the session that received the turn if its own was deleted during the turn."""
        if session_id and session_id != self.chat.session_id:
            await self.chat.enter(session_id)

    def _recover(self, content: Content, answer: str) -> None:
        chat = self.chat
        if self._setup.ephemeral:
            return
        try:
            path = recovery.keep(chat.session_id, content, answer, chat.settings.environ)
        except ConfigError as error:
            self._terminal.warn(f"this turn was not saved; it is only on the screen ({error})")
        else:
            self._terminal.warn(f"this turn may not be saved; a copy was written to {path}")

    async def _ask(self, question: str, default: str) -> str | None:
        return await self._prompt.ask(question, default)

    def _print_during_answer(self, text: str) -> None:
        """Print a line while an answer streams."""
        with self._rendering_paused():
            self._terminal.note(text)

    async def _ask_approval(self, question: str, lines: Sequence[str], style: str) -> str | None:
        """Ask a question while an answer streams; keys typed before it was shown do not answer it."""
        with self._rendering_paused():
            self._prompt.show(lines, style)
            self._keys.keep()
            return await self._prompt.ask(question)

    def _rendering_paused(self) -> AbstractContextManager[None]:
        """Pause the rendering of the answer."""
        return self._view.paused() if self._view is not None else nullcontext()

    # Interrupts and the end.

    def _interrupt(self) -> None:
        if not self._prompt.stop(KeyboardInterrupt()) and self._work is None:
            self._interrupted_between = True
        self._cancel()

    def _cancel(self) -> None:
        """Cancel the running work; a second time only after a delay, so that the partial answer can be stored."""
        now = self._loop.time()
        if self._work is not None and now - self._cancelled_at >= _PATIENCE_SECONDS:
            self._cancelled_at = now
            self._work.cancel()

    def _interrupted_at_prompt(self) -> None:
        self._empty_interrupts = 0 if self._prompt.typed else self._empty_interrupts + 1
        if self._empty_interrupts >= 2:
            self._terminal.note("To leave, press Ctrl-D or type /quit")

    def _end(self, number: int) -> None:
        """End the chat on a signal: stop the turn, which stores its partial answer, and leave."""
        self._ended_by = self._ended_by or number
        if number == getattr(signal, "SIGHUP", None):
            discard_output(self._terminal)
        self._cancel()
        self._prompt.stop(EOFError())

    @contextmanager
    def _signals(self) -> Iterator[None]:
        ending = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        before = {number: signal.getsignal(number) for number in (*ending, signal.SIGINT)}
        handled(self._loop, signal.SIGINT, self._interrupt)
        for number in ending:
            handled(self._loop, number, partial(self._end, number))
        try:
            yield
        finally:
            for number, handler in before.items():
                with suppress(NotImplementedError, ValueError, RuntimeError):
                    self._loop.remove_signal_handler(number)
                    signal.signal(number, handler or signal.SIG_DFL)

    async def _close(self) -> None:
        chat = self.chat
        await chat.aclose()
        if not chat.opening.done():
            chat.opening.cancel()
        elif chat.agent is not None:
            await chat.agent.aclose()
        else:
            chat.opening.exception()  # already reported

    def _say_goodbye(self) -> None:
        chat = self.chat
        if chat.message_count and self._setup.session_id is None and not self._setup.ephemeral:
            shown = one_line(chat.session_id)
            self._terminal.note(f"To resume this session: omniagent chat -s {shown}")

    def _toolbar(self) -> list[Part]:
        chat = self.chat
        hint = "multi-line: Alt-Enter sends" if chat.multiline else ""
        return chat_parts(chat, attaching.waiting(chat), hint)
