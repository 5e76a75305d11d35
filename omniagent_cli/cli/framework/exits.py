"""The only boundary between errors and the shell: one line on stderr, and an exit code."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

import typer

from omniagent_cli.errors import (
    ModelUnreachable,
    OmniAgentError,
    StoreUnavailable,
    UsageError,
)
from omniagent_cli.text.sanitize import one_line, visible
from omniagent_cli.ui.terminal import OutputFailed

if TYPE_CHECKING:
    from omniagent_cli.ui.terminal import Terminal

DONE = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
BUG = 70
INTERRUPTED = 130
CLOSED_PIPE = 141
"""What a shell reports of programs that a closed pipe ends, such as git and cat: 128 + SIGPIPE."""
TERMINATED = 143

_CODES: tuple[tuple[type[OmniAgentError], int], ...] = (
    (UsageError, USAGE),
    (StoreUnavailable, UNREACHABLE),
    (ModelUnreachable, UNREACHABLE),
    (OmniAgentError, FAILED),
)


class Refused(OmniAgentError):
    """Not done, because nobody agreed to it."""


class Terminated(BaseException):
    """Somebody asked this process to end; what is open is closed on the way out."""


def exit_code_of(error: OmniAgentError) -> int:
    """Return the exit code that tells a script what kind of error this is."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def guarded(run: Callable[[], object], terminal: Terminal) -> int:
    """Run a command and return its exit code, telling what went wrong in one line.

    Args:
        run: the command; an int it returns is the exit code.
        terminal: where to tell.
    """
    try:
        with _ended_cleanly():
            code = _told(run, terminal)
            terminal.flush()
            return code
    except BrokenPipeError:
        _discard_output(sys.stdout, sys.stderr)
        return CLOSED_PIPE
    except KeyboardInterrupt:
        if terminal.interactive:
            with contextlib.suppress(OSError, ValueError):
                terminal.stderr.write("\n")  # the shell's prompt goes on a line of its own
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except OmniAgentError as error:  # the output could not be handed over
        terminal.error(str(error))
        _discard_output(sys.stdout)
        return exit_code_of(error)
    finally:
        try:
            terminal.stderr.flush()
        except (OSError, ValueError):
            _discard_output(sys.stderr)


def _told(run: Callable[[], object], terminal: Terminal) -> int:
    try:
        code = run()
    except OutputFailed:  # told once, by who hands over the rest
        raise
    except OmniAgentError as error:
        terminal.error(str(error))
        return exit_code_of(error)
    except typer.TyperException as error:
        terminal.error(_usage(error))
        return error.exit_code
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001  # a bug, whatever it is, has a code of its own and is reported whole
        _report_bug(error, terminal)
        return BUG
    return code if isinstance(code, int) else DONE


def _usage(error: typer.TyperException) -> str:
    """Say what is wrong with a command line in our words."""
    ctx: Any = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "omniagent"
    option = getattr(error, "option_name", None)
    possibilities = getattr(error, "possibilities", None)
    if option == "--json" and hasattr(error, "possibilities"):
        return f"'{path}' has no JSON output; remove --json"
    if option and hasattr(error, "possibilities"):
        what = f"{one_line(option)} is no option of '{path}'"
        if possibilities:
            return f"{what}; did you mean {possibilities[0]}?"  # the closest stands first
    else:
        message = error.format_message().strip().rstrip(".")
        what = message[:1].lower() + message[1:]
        if what.startswith("missing ") and (
            row := getattr(getattr(ctx, "command", None), "row", None)
        ):
            return f"{what}; for example: {row.examples[0]}"
    return f"{what}; '{path} --help' shows how"


def _report_bug(error: Exception, terminal: Terminal) -> None:
    import traceback

    told = visible("".join(traceback.format_exception(error)))
    with contextlib.suppress(OSError, ValueError):
        terminal.stderr.write(told)
    terminal.error("this is a bug in omniagent; please report it with the lines above")


@contextlib.contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is open is closed."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not the main thread: the host program decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _discard_output(*streams: TextIO | None) -> None:
    """Send what is still in the buffers nowhere, so that Python does not complain, with a code of its own, at its end."""
    for stream in streams:
        try:
            descriptor = stream.fileno() if stream else -1
        except (OSError, ValueError, AttributeError):
            continue
        if descriptor >= 0:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
