"""Files of ours: read with a bound, written whole or not at all, for their owner only."""

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
        ConfigError: it is larger than any settings file.
    """
    with path.open("rb") as stream:
        data = stream.read(LARGEST_BYTES + 1)
    if len(data) > LARGEST_BYTES:
        raise ConfigError(
            f"{path} is larger than {LARGEST_BYTES} bytes; this cannot be a settings file"
        )
    return data


def make_private_directory(path: Path) -> None:
    """Create a directory and its missing parents, each for its owner only whatever the umask."""
    if path.is_dir():
        return
    make_private_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
        path.chmod(0o700)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file in one step, on disk when this returns, readable by its owner only.

    A symbolic link stays one: what it points at is replaced.

    Raises:
        ConfigError: it cannot be written; the old file is as it was.
    """
    target = Path(os.path.realpath(path))
    try:
        make_private_directory(target.parent)
        _replace(target, data)
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror or error}; check the directory's owner and the room on the disk"
        ) from error


@contextmanager
def locked_directory(path: Path) -> Iterator[None]:
    """Keep other writers of this directory's files away, so that two edits at once both survive.

    Raises:
        ConfigError: the directory cannot be made or opened.
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
    import tempfile  # loads shutil and random, which reading settings does not need

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
