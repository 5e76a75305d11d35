"""The record of trusted project files: path and SHA-256 of each, in the state directory.

Trust ends when a byte of the file changes. The command line asks the user for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from omniagent_cli import private_files as files
from omniagent_cli.config import paths
from omniagent_cli.errors import ConfigError

_FILE_NAME = "trusted-projects.json"


def is_trusted(path: Path, *, environ: Mapping[str, str], content: bytes | None = None) -> bool:
    """Return True if a file with this content is trusted.

    Args:
        path: the project file.
        environ: the environment variables, for the state directory.
        content: the bytes to use; None reads the file.

    Raises:
        ConfigError: the record of trust is damaged, or the file cannot be read.
    """
    record = _load(_record(environ))
    known = record.get(_name(path))
    if known is None:
        return False
    return known == _digest(_read(path) if content is None else content)


def trust_project(path: Path, *, environ: Mapping[str, str]) -> str:
    """Trust the current content of a project file.

    Returns:
        The SHA-256 of the content.

    Raises:
        ConfigError: the file cannot be read or is not valid TOML, or the record cannot be written.
    """
    from omniagent_cli.config.document import Document

    content = _read(path)
    Document(path, content)
    return trust_file(path, environ=environ, content=content)


def trust_file(path: Path, *, environ: Mapping[str, str], content: bytes) -> str:
    """Trust a file of a project as long as it has this content, and return the SHA-256.

    Raises:
        ConfigError: the record cannot be written.
    """
    digest = _digest(content)
    _update(environ, _name(path), digest)
    return digest


def untrust_project(path: Path, *, environ: Mapping[str, str]) -> bool:
    """Revoke trust; return whether the file was trusted."""
    if _name(path) not in _load(_record(environ)):
        return False
    _update(environ, _name(path), None)
    return True


def _update(environ: Mapping[str, str], name: str, digest: str | None) -> None:
    import json

    path = _record(environ)
    with files.locked_directory(path.parent):
        record = _load(path)
        record.pop(name, None)
        if digest is not None:
            record[name] = digest
        files.write_private(path, json.dumps(record, indent=2, sort_keys=True).encode() + b"\n")


def _load(path: Path) -> dict[str, str]:
    import json

    try:
        record = json.loads(files.read_bounded(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path) from error
    if not isinstance(record, dict) or not all(isinstance(value, str) for value in record.values()):
        raise _damaged(path)
    return record


def _damaged(path: Path) -> ConfigError:
    return ConfigError(
        f"{path}, the record of trusted projects, is damaged; remove it and trust your projects again"
    )


def _read(path: Path) -> bytes:
    try:
        return files.read_bounded(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _record(environ: Mapping[str, str]) -> Path:
    return paths.state_dir(environ) / _FILE_NAME


def _name(path: Path) -> str:
    return str(Path(path).resolve())


def _digest(content: bytes) -> str:
    from hashlib import sha256

    return sha256(content).hexdigest()
