"""Provider API keys: environment variable, then system keyring, then a private file; never printed.

Which variables belong to a provider and where the file lies are told by the caller: this module knows
neither the providers nor the configuration.
"""

from __future__ import annotations

import importlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from omniagent_cli.errors import ConfigError, OmniAgentError, UsageError
from omniagent_cli.json_format import dump, load

KEYRING_SERVICE = "omniagent"
KEYRING_ORIGIN = "system keyring"
KEYRING_EXTRA = "pip install 'omniagent-cli[keyring]'"


class Keyring(Protocol):
    """What is used of the `keyring` library."""

    def get_password(self, service: str, name: str, /) -> str | None: ...  # noqa: D102
    def set_password(self, service: str, name: str, password: str, /) -> None: ...  # noqa: D102
    def delete_password(self, service: str, name: str, /) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Key:
    """A key and where it was found; its text form shows only the latter.

    Attributes:
        origin: a variable's name, ``system keyring``, or the path of the file.
        where: which of them it is: ``environment``, ``keyring`` or ``file``.
    """

    provider: str
    origin: str
    value: str = field(repr=False)
    where: str = field(default="environment", compare=False)


class KeyChain:
    """The keys of one person on one machine.

    Nothing is read before it is asked for: importing the keyring library costs more than most commands.
    """

    def __init__(
        self,
        file: Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        use_keyring: bool = True,
    ) -> None:
        self._file = file
        self._environ = os.environ if environ is None else environ
        self._use_keyring = use_keyring

    def find(self, provider: str, variables: Sequence[str] = ()) -> Key | None:
        """Return the provider's key, from the first place that has one.

        Raises:
            ConfigError: the key file is damaged.
        """
        return (
            self.find_in_environment(provider, variables)
            or self._from_keyring(provider)
            or self._from_file(provider)
        )

    def find_in_environment(self, provider: str, variables: Sequence[str]) -> Key | None:
        """Return the key a variable holds, if one does; this costs nothing."""
        for name in variables:
            if value := self._environ.get(name, "").strip():
                return Key(provider, name, value)
        return None

    def get(self, provider: str, variables: Sequence[str] = ()) -> str | None:
        """Return the provider's key itself."""
        key = self.find(provider, variables)
        return key.value if key else None

    def places(self, provider: str, variables: Sequence[str] = ()) -> tuple[Key, ...]:
        """Return the keys of a provider in all places that have one; the first is used."""
        found = (
            self.find_in_environment(provider, variables),
            self._from_keyring(provider),
            self._from_file(provider),
        )
        return tuple(key for key in found if key)

    def names_in_file(self) -> tuple[str, ...]:
        """Return whose keys the file holds.

        Raises:
            ConfigError: the file is damaged, or cannot be read.
        """
        return tuple(self._read_file())

    @property
    def has_keyring(self) -> bool:
        """Whether the library is here that reaches the system keyring; it may still find none."""
        return self._keyring() is not None

    @property
    def exposed_file(self) -> Path | None:
        """The key file, when others on this machine may read it."""
        if self._file is None or sys.platform == "win32":
            return None
        try:
            mode = self._file.stat().st_mode
        except OSError:
            return None
        return self._file if mode & (stat.S_IRWXG | stat.S_IRWXO) else None

    def set(self, provider: str, key: str) -> str:
        """Keep a key in the keyring, or in the file where there is none; return the place.

        Raises:
            UsageError: the key is empty or cannot be sent as an HTTP header.
            ConfigError: there is neither a keyring nor a file to keep it in.
        """
        key = check_key(key)
        if self._set_in_keyring(provider, key):
            self._remove_from_file(
                provider
            )  # else the old one would come back with the keyring's end
            return KEYRING_ORIGIN
        if self._file is None:
            raise ConfigError("there is no system keyring here and no file to keep keys in")
        with self._changing_file() as keys:
            keys[provider] = key
        return str(self._file)

    def remove(self, provider: str) -> tuple[str, ...]:
        """Forget a key; return the places it was removed from. Variables are the person's to unset."""
        places = []
        if self._remove_from_keyring(provider):
            places.append(KEYRING_ORIGIN)
        if self._remove_from_file(provider):
            places.append(str(self._file))
        return tuple(places)

    def _from_keyring(self, provider: str) -> Key | None:
        keyring = self._keyring()
        if keyring is None:
            return None
        try:
            value = keyring.get_password(KEYRING_SERVICE, provider)
        except Exception:  # noqa: BLE001  # backends raise what their system gives; all mean: not available
            return None
        return Key(provider, KEYRING_ORIGIN, value, "keyring") if value else None

    def _set_in_keyring(self, provider: str, key: str) -> bool:
        keyring = self._keyring()
        if keyring is None:
            return False
        try:
            keyring.set_password(KEYRING_SERVICE, provider, key)
            # The "null" backend takes everything and keeps nothing.
            return keyring.get_password(KEYRING_SERVICE, provider) == key
        except Exception:  # noqa: BLE001  # as above
            return False

    def _remove_from_keyring(self, provider: str) -> bool:
        if self._from_keyring(provider) is None:
            return False
        try:
            cast("Keyring", self._keyring()).delete_password(KEYRING_SERVICE, provider)
        except Exception as error:
            raise OmniAgentError(
                f"the system keyring did not remove the key of {provider}; remove it with its own program"
            ) from error
        return True

    def _keyring(self) -> Keyring | None:
        if not self._use_keyring:
            return None
        try:
            return cast("Keyring", importlib.import_module("keyring"))
        except Exception:  # noqa: BLE001  # it is optional, and its backends fail to load in many ways
            return None

    def _from_file(self, provider: str) -> Key | None:
        value = self._read_file().get(provider)
        return Key(provider, str(self._file), value, "file") if value else None

    def _remove_from_file(self, provider: str) -> bool:
        if provider not in self._read_file():
            return False
        with self._changing_file() as keys:
            return keys.pop(provider, None) is not None

    def _read_file(self) -> dict[str, str]:
        if self._file is None:
            return {}
        try:
            keys = load(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise ConfigError(
                f"the key file {self._file} cannot be read: {error.strerror}; check its owner and its mode"
            ) from error
        except ValueError:
            keys = None  # the cause is not chained: it would hold the file's text
        if not isinstance(keys, dict) or not all(isinstance(v, str) for v in keys.values()):
            raise ConfigError(
                f"the key file {self._file} is damaged; remove it and set the keys again"
            )
        return keys

    @contextmanager
    def _changing_file(self) -> Iterator[dict[str, str]]:
        """Give the keys to change, with other writers kept away, so that two changes at once both survive."""
        path = Path(
            os.path.realpath(cast("Path", self._file))
        )  # a link into a private place stays one
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _locked(path.parent):
                keys = self._read_file()
                yield keys
                _replace_privately(path, dump(keys))
        except OSError as error:
            raise ConfigError(
                f"the key file {self._file} cannot be written: {error.strerror}; "
                "check its directory's owner and the room on the disk"
            ) from error


def check_key(key: str) -> str:
    """Return a key without surrounding blanks.

    Raises:
        UsageError: it is empty or holds what an HTTP header cannot carry, which pasting often adds.
    """
    key = key.strip()
    if not key:
        raise UsageError("the key is empty")
    if not all("!" <= character <= "~" for character in key):
        raise UsageError("the key holds blanks or characters that no API key has; paste it again")
    return key


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    if sys.platform == "win32":
        yield
        return
    import fcntl

    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace_privately(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
