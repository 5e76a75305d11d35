"""Files and directories for this person alone, and what a disk refuses, in our words."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

from omniagent_cli.errors import StoreFull, StoreReadOnly, StoreUnavailable, StoreUnreachable


def make_private_directory(directory: Path) -> None:
    """Make a directory and its missing parents with mode 0700, whatever the umask."""
    if directory.is_dir():
        return
    make_private_directory(directory.parent)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)


def unwritable(path: str, error: OSError) -> StoreUnavailable:
    """Return our error for a place where a store cannot be made or changed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(f"no room is left on the disk of {path}; free some space and repeat")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreReadOnly(f"the store {path} cannot be written: {error.strerror}")
    return StoreUnreachable(f"the store {path} cannot be made: {error.strerror}")
