"""The boundary between errors and the shell: one line on stderr and an exit code."""

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
"""The exit code of programs ended by a closed pipe, such as git and cat: 128 + SIGPIPE."""
TERMINATED = 143

_CODES: tuple[tuple[type[OmniAgentError], int], ...] = (
    (UsageError, USAGE),
    (StoreUnavailable, UNREACHABLE),
    (ModelUnreachable, UNREACHABLE),
    (OmniAgentError, FAILED),
)


class Refused(OmniAgentError):
    """Raised when an action was not confirmed."""


class Aborted(Refused):
    """Raised when the user answered a confirmation with no."""


class Terminated(BaseException):
    """Raised on SIGTERM, so that open resources are closed."""


def exit_code_of(error: OmniAgentError) -> int:
    """Return the exit code for an error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))


def run_with_exit_code(run: Callable[[], object], terminal: Terminal) -> int:
    """Run a command and return its exit code; print an error in one line.

    Args:
        run: the command; if it returns an int, that is the exit code.
        terminal: the terminal for errors.
    """
    try:
        with raised_on(signal.SIGTERM, Terminated):
            code = _run(run, terminal)
            terminal.flush()
            return code
    except BrokenPipeError:
        _discard_output(sys.stdout, sys.stderr)
        return CLOSED_PIPE
    except KeyboardInterrupt:
        if terminal.interactive:
            with contextlib.suppress(OSError, ValueError):
                terminal.stderr.write("\n")  # the shell prompt starts on a new line
        return INTERRUPTED
    except Terminated:
        return TERMINATED
    except OmniAgentError as error:  # the output could not be written
        terminal.error(str(error))
        _discard_output(sys.stdout)
        return exit_code_of(error)
    finally:
        try:
            terminal.stderr.flush()
        except (OSError, ValueError):
            _discard_output(sys.stderr)


def _run(run: Callable[[], object], terminal: Terminal) -> int:
    try:
        code = run()
    except OutputFailed:  # reported by the caller, which flushes the rest
        raise
    except Aborted:
        terminal.note("Aborted.")
        return FAILED
    except OmniAgentError as error:
        terminal.error(str(error), error.details)
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
    except Exception as error:  # noqa: BLE001  # a bug has an exit code of its own and is reported with its traceback
        _report_bug(error, terminal)
        return BUG
    return code if isinstance(code, int) else DONE


def _usage(error: typer.TyperException) -> str:
    """Return the message for a usage error of the parser."""
    ctx: Any = getattr(error, "ctx", None)
    path = ctx.command_path if ctx else "omniagent"
    option = getattr(error, "option_name", None)
    possibilities = getattr(error, "possibilities", None)
    if option == "--json" and hasattr(error, "possibilities"):
        return f"'{path}' has no JSON output; remove --json"
    if option and hasattr(error, "possibilities"):
        what = f"{one_line(option)} is not an option of '{path}'"
        if possibilities:
            return f"{what}; did you mean {possibilities[0]}?"  # the closest is first
    else:
        message = error.format_message().strip().rstrip(".")
        what = message[:1].lower() + message[1:]
        if what.startswith("missing ") and (
            row := getattr(getattr(ctx, "command", None), "row", None)
        ):
            return f"{what}; for example: {row.examples[0]}"
    return f"{what}; run '{path} --help' for help"


def _report_bug(error: Exception, terminal: Terminal) -> None:
    import traceback

    text = visible("".join(traceback.format_exception(error)))
    with contextlib.suppress(OSError, ValueError):
        terminal.stderr.write(text)
    terminal.error("this is a bug in omniagent; please report it with the lines above")


@contextlib.contextmanager
def raised_on(number: int, error: type[BaseException]) -> Iterator[None]:
    """Turn a signal into an exception, so that open resources are closed.

    Python drops an exception that is raised in a destructor or a callback; it is then raised at the end.
    """
    arrived = False

    def end(_number: int, _frame: FrameType | None) -> None:
        nonlocal arrived
        arrived = True
        raise error

    try:
        before = signal.signal(number, end)
    except ValueError:  # not the main thread: the host program handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
    if arrived:
        raise error


def _discard_output(*streams: TextIO | None) -> None:
    """Discard buffered output, so that Python does not report it with an exit code of its own."""
    for stream in streams:
        try:
            descriptor = stream.fileno() if stream else -1
        except (OSError, ValueError, AttributeError):
            continue
        if descriptor >= 0:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
