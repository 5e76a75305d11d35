"""Running somebody's function: plain ones in threads, asynchronous ones in a loop; it may hang, crash and print.

Threads are daemons of their own, not a pool's: a pool waits for its threads when the program ends, and a function
that hangs cannot be stopped.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import signal
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from omniagent_cli.agent.loop_thread import LoopThread
from omniagent_cli.agent.tools.captured_output import CapturedOutput, capture_output

GRACE_SECONDS = 1.0
"""How long an asynchronous function may take to clean up when it is cancelled."""


class ToolTimeout(Exception):
    """The function was given up.

    Attributes:
        running: it could not be stopped.
    """

    def __init__(self, *, running: bool) -> None:
        super().__init__()
        self.running = running


@dataclass(slots=True)
class CallResult:
    """How a function ended.

    Attributes:
        error: what it raised; also what is no `Exception`, such as `SystemExit`.
        printed: what it wrote to stdout and stderr.
    """

    value: Any = None
    error: BaseException | None = None
    printed: str = ""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function with its arguments, and where it runs if it is asynchronous.

    Attributes:
        loop_thread: the loop of the skill it belongs to; None is the loop that asks.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    loop_thread: LoopThread | None = None

    async def run(self, timeout_seconds: float) -> CallResult:
        """FunctionCall it and return how it ended.

        Raises:
            ToolTimeout: it took longer.
        """
        printed = CapturedOutput()
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        if is_async(self.function):
            ended = await self._in_loop(lambda: self.function(**self.arguments), printed, deadline)
        else:
            ended = await _in_thread(lambda: self.function(**self.arguments), printed, deadline)
            if inspect.isawaitable(value := ended.value):
                ended = await self._in_loop(lambda: value, printed, deadline)
        ended.printed = printed.text
        return ended

    async def _in_loop(
        self, begin: Callable[[], Awaitable[Any]], printed: CapturedOutput, deadline: float
    ) -> CallResult:
        work = _await_captured(begin, printed)
        task: asyncio.Future[CallResult]
        if self.loop_thread is None:
            task = asyncio.create_task(work)
        else:
            task = asyncio.wrap_future(self.loop_thread.submit(work))
        try:
            await asyncio.wait([task], timeout=deadline - asyncio.get_running_loop().time())
        except asyncio.CancelledError:
            await _cancel(task)
            raise
        if not task.done():
            raise ToolTimeout(running=not await _cancel(task))
        if task.cancelled():  # not by us: its loop is being closed
            return CallResult(error=asyncio.CancelledError("its skill was closed"))
        return task.result()


def is_async(function: Callable[..., Any]) -> bool:
    """Tell whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004  # an object with an asynchronous call
    )


async def _cancel(task: asyncio.Future[CallResult]) -> bool:
    """Cancel a task and tell whether it let itself be; some swallow it."""
    task.cancel()
    await asyncio.wait([task], timeout=GRACE_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that nobody complains that it was not
    return task.done()


async def _await_captured(
    begin: Callable[[], Awaitable[Any]], printed: CapturedOutput
) -> CallResult:
    with capture_output(printed):
        try:
            return CallResult(await begin())
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return CallResult(error=error)  # it raised that by itself
        except BaseException as error:  # somebody's code; SystemExit would end the whole loop
            if isinstance(error, KeyboardInterrupt) and _is_ctrl_c():
                raise
            return CallResult(error=error)


def _is_ctrl_c() -> bool:
    """Tell whether Ctrl-C raises `KeyboardInterrupt` wherever the program is, as it does unless somebody handles it."""
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def _in_thread(
    work: Callable[[], Any], printed: CapturedOutput, deadline: float
) -> CallResult:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[CallResult] = loop.create_future()

    def settle(ended: CallResult) -> None:
        if not future.done():
            future.set_result(ended)

    def run() -> None:
        with capture_output(printed):
            try:
                ended = CallResult(work())
            except BaseException as error:  # noqa: BLE001  # somebody's code; nobody else hears of a thread's end
                ended = CallResult(error=error)
        with suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(settle, ended)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="omniagent-tool", daemon=True).start()
    done, _ = await asyncio.wait([future], timeout=deadline - loop.time())
    if not done:
        future.cancel()
        raise ToolTimeout(running=True)
    return future.result()
