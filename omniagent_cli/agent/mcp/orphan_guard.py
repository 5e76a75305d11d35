"""What ends a server when omniagent is killed and cannot: a shell that waits until we are gone."""

from __future__ import annotations

import subprocess
from contextlib import suppress

# Its input is a pipe that nobody else has: it ends when we do, however we end.
_SCRIPT = 'read -r _; kill -TERM "-$0" && sleep 2 && kill -KILL "-$0"'


class OrphanGuard:
    """Ends a program and what it started when ours is killed.

    The end of its input tells a server as well, but one that is busy, or hangs, does not notice.

    Args:
        group: the program's process id, which is its group's too.
    """

    def __init__(self, group: int) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        with suppress(OSError):  # without a shell a server that hangs would stay
            self._shell = subprocess.Popen(  # noqa: S603  # our own words, and a number
                ["/bin/sh", "-c", _SCRIPT, str(group)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )

    def end(self) -> None:
        """OrphanGuard no more: the program has ended, and its number may soon be another's."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.communicate()
            self._shell = None
