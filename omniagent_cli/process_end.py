"""End of the process while daemon threads may still be importing compiled libraries.

Finalizing the interpreter under such a thread crashes it: Python up to 3.13 ends the thread inside C++ or Rust code
(https://docs.python.org/3/c-api/threads.html, "Cautions regarding runtime finalization"). The
`omniagent` program therefore exits without finalizing; a host program waits for the threads registered here.
"""

from __future__ import annotations

import atexit
import os
import sys
import time

TYPE_CHECKING = (
    False  # importing typing, collections or threading costs a tenth of `omniagent --version`
)
if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

_JOIN_SECONDS = 10.0

_threads: list[Thread] = []


def start_daemon(target: Callable[..., None], *args: object, name: str) -> Thread:
    """Start a daemon thread that imports libraries.

    A host program waits for all of them, up to 10 s, before its interpreter is finalized.
    """
    from threading import Thread

    if not _threads:
        atexit.unregister(_join)
        atexit.register(_join)
    _threads[:] = [thread for thread in _threads if thread.is_alive()]
    thread = Thread(target=target, args=args, name=name, daemon=True)
    _threads.append(thread)
    thread.start()
    return thread


def _join() -> None:
    deadline = time.monotonic() + _JOIN_SECONDS
    for thread in _threads:
        thread.join(max(0.0, deadline - time.monotonic()))


class ProcessEnd:
    """Exits without finalizing the interpreter, once all exit handlers have run.

    Python waits for threads that are not daemons, then runs exit handlers, the first registered one last: create this
    before anything else is imported.

    Attributes:
        code: the exit code; 1 until it is set, as for an uncaught exception.
    """

    def __init__(self) -> None:
        self.code = 1
        atexit.register(self._exit, os.getpid())

    def begin(self, code: int) -> None:
        """Exit with this code: daemon threads are abandoned, and a further Ctrl-C ends the process immediately."""
        self.code = code
        atexit.unregister(_join)
        signal = sys.modules.get("signal")
        if signal is not None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.exit(code)

    def _exit(self, pid: int) -> None:
        if os.getpid() != pid:  # a forked child ends its own way
            return
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):
                self.code = self.code or 1
        os._exit(self.code)
