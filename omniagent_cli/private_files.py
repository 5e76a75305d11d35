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
        replace_file(target, data)
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


def replace_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Create or replace a file atomically, with mode 0600: temporary file, fsync, rename.

    Args:
        path: the file, in an existing directory.
        data: the new content.
        durable: sync the file and its directory to disk.

    Raises:
        OSError: it cannot be written; the old file is unchanged.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(partial, flags, 0o600), "wb") as stream:
            if sys.platform != "win32":
                os.fchmod(stream.fileno(), 0o600)  # whatever the umask
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames and removals in a directory durable; Windows does so by itself."""
    if sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
