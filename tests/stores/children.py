"""Forked children of a test: each is waited for, and killed when it does not end in time."""

import os
import signal
import sys
import traceback
import warnings

WAIT_SECONDS = 60
"""Longest wait for a child, so that one that hangs fails its test instead of blocking the run."""


class Child:
    """A fork of this process that runs a function and exits.

    Args:
        work: the function to run in the child; an error is printed and is the child's exit status 1.
        leave: ends the child with its status: `os._exit`, or `sys.exit` to run the handlers of the interpreter's end.
    """

    def __init__(self, work, leave=os._exit):
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on threads at a fork
            self.pid = os.fork()
        if self.pid == 0:
            # A child never returns into pytest. Its alarm ends it where no Python code would run any more.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(WAIT_SECONDS)
            status = 1
            try:
                work()
                status = 0
            except BaseException:  # noqa: BLE001  # reported by the exit status
                traceback.print_exc()
                sys.stderr.flush()
            leave(status)

    def join(self):
        """Wait for the child and assert that its work was done."""
        _, status = os.waitpid(self.pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0


class Pipe:
    """A pipe on which one process waits until another one has reached a point."""

    def __init__(self):
        self.read_end, self.write_end = os.pipe()

    def send(self):
        os.write(self.write_end, b".")

    def wait(self):
        assert os.read(self.read_end, 1) == b"."
