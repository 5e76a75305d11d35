"""The orphan guard: a shell that ends a server after omniagent was killed."""

from __future__ import annotations

import subprocess
from contextlib import suppress

# Its stdin is a pipe held only by this process, so read returns when this process ends, in whatever way.
_SCRIPT = 'read -r _; kill -TERM "-$0" && sleep 2 && kill -KILL "-$0"'


class OrphanGuard:
    """Ends a server and its child processes when this process is killed.

    The end of its stdin notifies the server too, but a server that is busy or hangs does not notice.

    Args:
        group: the process id of the server, which is also its process group id.
    """

    def __init__(self, group: int) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        with suppress(OSError):  # without a shell, a server that hangs is not killed
            self._shell = subprocess.Popen(  # noqa: S603  # constant arguments and a number
                ["/bin/sh", "-c", _SCRIPT, str(group)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/bin:/bin"},
                start_new_session=True,
            )

    def end(self) -> None:
        """Stop guarding: the server has ended, and its process id may be reused."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.communicate()
            self._shell = None
