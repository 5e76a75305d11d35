"""The loop of a chat: read what the person says, take a turn or run a command, show what came of it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.context.attachments import compose
from omniagent_cli.agent.events import Engine, TextDelta, TurnDone, TurnEvent
from omniagent_cli.agent.tools.permissions import Allowed
from omniagent_cli.errors import ConfigError, OmniAgentError, StoreError
from omniagent_cli.models import Content
from omniagent_cli.repl import attaching, recovery
from omniagent_cli.repl.agent_startup import Opening
from omniagent_cli.repl.approval import Approval, allow_for_good
from omniagent_cli.repl.chat import Chat, ChatSetup, GoingOn, Left
from omniagent_cli.repl.completers import SlashCompleter
from omniagent_cli.repl.echo_guard import GONE, Quiet, handled
from omniagent_cli.repl.pending_question import keep_question
from omniagent_cli.repl.prompt import Prompt, fitting_output
from omniagent_cli.repl.recap import show_recap
from omniagent_cli.repl.server_consent import confirm_first_use
from omniagent_cli.repl.toolbar import Part, chat_parts
from omniagent_cli.text.sanitize import one_line
from omniagent_cli.ui.views import counted, quoted

if TYPE_CHECKING:
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.ui.stream import StreamView
    from omniagent_cli.ui.terminal import Terminal

__all__ = ["ChatSetup", "Repl", "run"]

_LEAVING = frozenset({"exit", "quit", "q"})
_PATIENCE_SECONDS = 1.0
_DONE = 0
_SIGNALLED = 128


def run(setup: ChatSetup) -> int:
    """Chat until the person leaves, and return the exit code.

    Raises:
        OmniAgentError: there is nobody who could answer, told before anything was said.
    """
    with fitting_output(setup.terminal, plain=setup.settings.chat.screen_reader):
        return asyncio.run(_run(setup))


async def _run(setup: ChatSetup) -> int:
    return await Repl(setup).run()


class Repl:
    """One run of the loop."""

    def __init__(self, setup: ChatSetup) -> None:
        self._setup = setup
        self._terminal = setup.terminal
        self._quiet = Quiet(setup.terminal.stdin)
        self._loop = asyncio.get_running_loop()
        self._work: asyncio.Task[None] | None = None
        self._cancelled_at = 0.0
        self._ended_by = 0
        self._unasked: Content | None = None
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
        self._opening = Opening(
            self.chat,
            self._prompt,
            approval=Approval(
                self._ask_amid,
                left=self._cancel,
                session=lambda: self.chat.session_id,
                keep=partial(allow_for_good, setup.settings),
                tell=self._tell_amid,
                allowed=Allowed(frozenset(setup.settings.tools.allow), setup.yes_tools),
            ),
            busy=lambda: self._work is not None,
        )

    async def run(self) -> int:
        """Chat until the person leaves, and return the exit code."""
        with self._signals(), self._quiet:
            try:
                await self._greet()
                await self._talk()
            finally:
                await self._close()
        if not self._ended_by:
            self._say_goodbye()
        try:
            self._terminal.stderr.flush()
            self._terminal.stdout.flush()
        except OSError:  # the window was closed, and nobody told us
            _let_go(self._terminal)
        return _SIGNALLED + self._ended_by if self._ended_by else _DONE

    async def _greet(self) -> None:
        chat = self.chat
        await chat.look()
        if chat.message_count:
            chat.setup.remember(chat.session_id)
            title = one_line(chat.title)
            what = f"{quoted(chat.session_id)}: {counted(chat.message_count, 'message')}"
            self._terminal.note(f"{what}, {title}" if title else what)
            await show_recap(chat)
        if told := attaching.waiting(chat):
            self._terminal.note(told)
        self._terminal.note("/help lists the commands, Ctrl-D leaves")

    async def _talk(self) -> None:
        ready: Callable[[], None] | None = self._opening.begin
        while not self._ended_by:
            self._interrupted_between = False
            try:
                said = await self._prompt.read(ready)
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
                await self._do(self._answer(said))
            except Left:
                return

    # One line of the person.

    async def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that Ctrl-C cancels."""
        self._work = asyncio.create_task(work)
        self._cancelled_at = -_PATIENCE_SECONDS
        handled(self._loop, signal.SIGINT, self._interrupt)  # some prompts take it away
        between, self._interrupted_between = self._interrupted_between, False
        if between or self._prompt.took_interrupt() or self._ended_by:
            self._loop.call_soon(self._cancel)
        cancelled = False
        try:
            with self._quiet.suspendable(self._aside):
                await self._work
        except asyncio.CancelledError:
            if not self._work.cancelled():
                raise
            cancelled = True
        finally:
            self._work = None
        if cancelled or self._ended_by:
            await self._keep_unasked()
        self._unasked = None

    async def _keep_unasked(self) -> None:
        """Store what was said and overtaken, by Ctrl-C or the end of the chat, before anybody was asked."""
        content, self._unasked = self._unasked, None
        if content is None:
            return
        try:
            await keep_question(self.chat, content)
            self.chat.attached.clear()
            if not self._ended_by:
                await self.chat.look()
                self._terminal.note("interrupted before it was asked; it is kept, /retry asks it")
        except StoreError as error:
            self._terminal.error(str(error))
            self._recover(content, "")

    async def _answer(self, said: str) -> None:
        """Run a command or take a turn, telling what went wrong in one line."""
        line = said.strip()
        if not line:
            return
        if line in _LEAVING:
            raise Left
        try:
            if line.startswith("/") and not line.startswith("//"):
                await self.chat.show_news()
                from omniagent_cli.repl.commands import run_command

                await run_command(self.chat, line)
                await self.chat.refresh()
            else:
                text = line[1:] if line.startswith("//") else said
                self._unasked = compose(text, self.chat.attached)
                await self.chat.ready_agent()  # Ctrl-C until here leaves attachments waiting
                await self.turn(attaching.with_attached(self.chat, text))
        except OmniAgentError as error:
            if self.chat.opening.done() and self.chat.opening.exception() is error:
                raise
            self._terminal.error(str(error))

    async def turn(
        self, content: Content, engine: Engine | None = None, *, going_on: GoingOn | None = None
    ) -> None:
        """Ask, or go on, show the answer as it comes, and keep what came if it ends early."""
        chat = self.chat
        agent = await chat.ready_agent()
        chat.removed = None
        said: list[str] = []
        learn = chat.refresh
        try:
            if engine is None:
                await confirm_first_use(chat)
            await chat.show_news()
            self._unasked = None
            await self._show(self._events(agent, content, engine, going_on), said, going_on)
        except StoreError as error:
            learn = chat.look  # what half arrived is ours, and no news
            self._terminal.error(str(error))
            self._recover(content, "".join(said))
        except OmniAgentError as error:
            self._terminal.error(str(error))
            if said:
                self._terminal.note("what came is kept; /continue goes on from it")
        except OSError:  # the window was closed; closing the turn has stored what came
            self._end(signal.SIGHUP)
        except Exception:  # a bug must not cost what was said either
            self._recover(content, "".join(said))
            raise
        finally:  # also of a turn that Ctrl-C ended
            with suppress(StoreError):
                await learn()
            if chat.message_count:
                chat.setup.remember(chat.session_id)

    def _events(
        self, agent: Agent, content: Content, engine: Engine | None, going_on: GoingOn | None
    ) -> AsyncGenerator[TurnEvent, None]:
        session_id = self.chat.session_id
        if going_on is not None:
            return agent.go_on(session_id, going_on.turn_id, engine=engine)
        return agent.stream(content, session_id, engine=engine)

    async def _show(
        self,
        events: AsyncGenerator[TurnEvent, None],
        said: list[str],
        going_on: GoingOn | None = None,
    ) -> None:
        from omniagent_cli.ui.stream import StreamView
        from omniagent_cli.ui.turn_player import painted

        look = self._setup.settings.chat
        view = self._view = StreamView(
            self._terminal, thinking=look.thinking, spoken=look.screen_reader
        )
        try:
            async with aclosing(painted(events, view)) as shown:
                with view:
                    if going_on is not None and going_on.tail:
                        view.feed(TextDelta(going_on.tail))
                    async for event in shown:
                        if isinstance(event, TextDelta):
                            said.append(event.text)
                        elif isinstance(event, TurnDone):
                            await self._follow(event.session_id)
        except asyncio.CancelledError:
            view.abort(
                "interrupted; what came is kept, /continue goes on" if said else "interrupted"
            )
            raise

    async def _follow(self, session_id: str) -> None:
        """Go where the turn went, when its session was deleted meanwhile."""
        if session_id and session_id != self.chat.session_id:
            await self.chat.enter(session_id)

    def _recover(self, content: Content, answer: str) -> None:
        chat = self.chat
        if self._setup.ephemeral:
            return
        try:
            path = recovery.keep(chat.session_id, content, answer, chat.settings.environ)
        except ConfigError as error:
            self._terminal.warn(f"this turn is not stored; it is only on this screen ({error})")
        else:
            self._terminal.warn(f"this turn may not be in the store; it is kept in {path}")

    async def _ask(self, question: str, default: str) -> str | None:
        return await self._prompt.ask(question, default)

    def _tell_amid(self, text: str) -> None:
        """Say a line in the middle of an answer."""
        with self._aside():
            self._terminal.note(text)

    async def _ask_amid(self, question: str, told: Sequence[str]) -> str | None:
        """Ask in the middle of an answer, with lines above; what was typed before they were seen is no answer."""
        with self._aside():
            for line in told:
                self._terminal.line(self._terminal.shown(line))
            self._quiet.forget_typed()
            return await self._prompt.ask(question)

    def _aside(self) -> AbstractContextManager[None]:
        """Keep the answer from being painted meanwhile."""
        return self._view.held() if self._view is not None else nullcontext()

    # Interrupts and the end.

    def _interrupt(self) -> None:
        if not self._prompt.stop(KeyboardInterrupt()) and self._work is None:
            self._interrupted_between = True
        self._cancel()

    def _cancel(self) -> None:
        """Cancel what is being done; again only after a while, so that storing what came is not cut short."""
        now = self._loop.time()
        if self._work is not None and now - self._cancelled_at >= _PATIENCE_SECONDS:
            self._cancelled_at = now
            self._work.cancel()

    def _interrupted_at_prompt(self) -> None:
        self._empty_interrupts = 0 if self._prompt.typed else self._empty_interrupts + 1
        if self._empty_interrupts >= 2:
            self._terminal.note("Ctrl-D or /quit leaves")

    def _end(self, number: int) -> None:
        """End because of a signal: stop the turn, which stores what came, and leave."""
        self._ended_by = self._ended_by or number
        if number == getattr(signal, "SIGHUP", None):
            _let_go(self._terminal)
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
        chat.close()
        if not chat.opening.done():
            chat.opening.cancel()
        elif chat.agent is not None:
            await chat.agent.aclose()
        else:
            chat.opening.exception()  # it was told

    def _say_goodbye(self) -> None:
        chat = self.chat
        if chat.message_count and self._setup.session_id is None and not self._setup.ephemeral:
            shown = one_line(chat.session_id)
            self._terminal.note(f"omniagent chat -s {shown} goes on with this session")

    def _toolbar(self) -> list[Part]:
        chat = self.chat
        hint = "multi-line: Alt-Enter sends" if chat.multiline else ""
        return chat_parts(chat, attaching.waiting(chat), hint)


def _let_go(terminal: Terminal) -> None:
    """Send what is still written to a terminal that is gone nowhere, so that storing goes on undisturbed."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (terminal.stdout, terminal.stderr):
        with suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
