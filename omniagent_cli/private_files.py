"""Private files: bounded reads, atomic writes, readable by their owner only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from omniagent_cli.errors import ConfigError

LARGEST_BYTES = 1_000_000


def read_bounded(path: Path) -> bytes:
    """Read a whole small file.

    Raises:
        OSError: it cannot be read.
        ConfigError: it is larger than `LARGEST_BYTES`.
    """
    with path.open("rb") as stream:
        data = stream.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ConfigError(
            f"{path} is larger than {LARGEST_BYTES} bytes, the limit of settings files"
        )
    return data


def make_private_directory(path: Path) -> None:
    """Create a directory and its missing parents with mode 0700, whatever the umask."""
    if path.is_dir():
        return
    make_private_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file atomically and durably, with mode 0600.

    A symbolic link is kept; its target is replaced.

    Raises:
        ConfigError: it cannot be written; the old file is unchanged.
    """
    target = Path(os.path.realpath(path))
    try:
        make_private_directory(target.parent)
        _replace(target, data)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror or error}; check the owner of the directory and the free disk space"
        ) from error


@contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Lock a directory against other writers, so that concurrent edits do not overwrite each other.

    Raises:
        ConfigError: the directory cannot be created or opened.
    """
    try:
        make_private_directory(path)
        handle = os.open(path, os.O_RDONLY) if sys.platform != "win32" else -1
    except OSError as error:
        raise ConfigError(
            f"cannot use {path}: {error.strerror or error}; check the directory's owner"
        ) from error
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def _replace(target: Path, data: bytes) -> None:
    import tempfile  # slow to import, and not needed to read settings

    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as stream:  # mkstemp made it 0600
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_directory(target.parent)


def _sync_directory(path: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
