"""Execution of tool functions: synchronous ones in threads, asynchronous ones in an event loop.

Each synchronous call runs in a new daemon thread, because a thread pool would wait at exit for its threads, and a
function that hangs cannot be stopped.
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
"""The time an asynchronous function has for its cleanup after cancellation."""


class ToolTimeout(Exception):
    """The function timed out.

    Attributes:
        running: True if it could not be stopped.
    """

    def __init__(self, *, running: bool) -> None:
        super().__init__()
        self.running = running


@dataclass(slots=True)
class CallResult:
    """The result of a function call.

    Attributes:
        error: the exception it raised; may be a `BaseException` such as `SystemExit`.
        printed: its output on stdout and stderr.
    """

    value: Any = None
    error: BaseException | None = None
    printed: str = ""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A function with its arguments, and the event loop for an asynchronous one.

    Attributes:
        loop_thread: the loop of the function's skill; None is the running loop.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    loop_thread: LoopThread | None = None

    async def run(self, timeout_seconds: float) -> CallResult:
        """Call the function and return the result.

        Raises:
            ToolTimeout: the timeout expired.
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
        if task.cancelled():  # because its loop is being closed
            return CallResult(error=asyncio.CancelledError("the skill was closed"))
        return task.result()


def is_async(function: Callable[..., Any]) -> bool:
    """Return True if calling the function returns an awaitable."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(type(function), "__call__", None)  # noqa: B004  # an object with an asynchronous __call__
    )


async def _cancel(task: asyncio.Future[CallResult]) -> bool:
    """Cancel a task; return False if it suppressed the cancellation."""
    task.cancel()
    await asyncio.wait([task], timeout=GRACE_SECONDS)
    if task.done() and not task.cancelled():
        task.exception()  # retrieved, so that asyncio does not log it
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
            return CallResult(error=error)  # raised by the tool itself
        except BaseException as error:  # a tool's SystemExit would end the whole loop
            if isinstance(error, KeyboardInterrupt) and _is_ctrl_c():
                raise
            return CallResult(error=error)


def _is_ctrl_c() -> bool:
    """Return True if a `KeyboardInterrupt` here comes from Ctrl-C, that is, Python's default handler is installed."""
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
            except BaseException as error:  # noqa: BLE001  # an exception would end the thread unnoticed
                ended = CallResult(error=error)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, ended)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(run,), name="omniagent-tool", daemon=True).start()
    done, _ = await asyncio.wait([future], timeout=deadline - loop.time())
    if not done:
        future.cancel()
        raise ToolTimeout(running=True)
    return future.result()
