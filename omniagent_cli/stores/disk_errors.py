"""Translation of disk errors into StoreError subclasses."""

from __future__ import annotations

import errno

from omniagent_cli.errors import StoreFull, StoreReadOnly, StoreUnavailable, StoreUnreachable


def write_error(path: str, error: OSError) -> StoreUnavailable:
    """Return the error for a path where a store cannot be created or changed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StoreFull(f"the disk of {path} is full; free some space and try again")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreReadOnly(f"the store {path} cannot be written: {error.strerror}")
    return StoreUnreachable(f"the store {path} cannot be created: {error.strerror}")
