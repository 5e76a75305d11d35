"""Provider API keys: environment variable, then system keyring, then a private file; never printed.

The caller passes the variables of a provider and the path of the file; this module knows neither the providers nor
the configuration.
"""

from __future__ import annotations

import importlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from omniagent_cli.errors import ConfigError, OmniAgentError, UsageError
from omniagent_cli.json_format import dump, load
from omniagent_cli.private_files import locked_directory, replace_file

KEYRING_SERVICE = "omniagent"
KEYRING_ORIGIN = "system keyring"
KEYRING_EXTRA = "pip install 'omniagent-cli[keyring]'"


class Keyring(Protocol):
    """The functions of the `keyring` library that are used here."""

    def get_password(self, service: str, name: str, /) -> str | None: ...  # noqa: D102
    def set_password(self, service: str, name: str, password: str, /) -> None: ...  # noqa: D102
    def delete_password(self, service: str, name: str, /) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Key:
    """A key and its origin; its string form shows only the origin.

    Attributes:
        origin: the name of a variable, ``system keyring``, or the path of the file.
        where: the kind of origin: ``environment``, ``keyring`` or ``file``.
    """

    provider: str
    origin: str
    value: str = field(repr=False)
    where: str = field(default="environment", compare=False)


class KeyChain:
    """The provider keys of a user on this machine.

    Nothing is read before it is needed: importing the keyring library takes longer than most commands.
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
        """Return the provider's key from the first location that has one.

        Raises:
            ConfigError: the key file is damaged.
        """
        return (
            self.find_in_environment(provider, variables)
            or self._from_keyring(provider)
            or self._from_file(provider)
        )

    def find_in_environment(self, provider: str, variables: Sequence[str]) -> Key | None:
        """Return the key from an environment variable, or None; this is cheap."""
        for name in variables:
            if value := self._environ.get(name, "").strip():
                return Key(provider, name, value)
        return None

    def get(self, provider: str, variables: Sequence[str] = ()) -> str | None:
        """Return the text of the provider's key, or None."""
        key = self.find(provider, variables)
        return key.value if key else None

    def places(self, provider: str, variables: Sequence[str] = ()) -> tuple[Key, ...]:
        """Return the keys of a provider from all locations; the first one is used."""
        found = (
            self.find_in_environment(provider, variables),
            self._from_keyring(provider),
            self._from_file(provider),
        )
        return tuple(key for key in found if key)

    def names_in_file(self) -> tuple[str, ...]:
        """Return the names of providers with a key in the file.

        Raises:
            ConfigError: the file is damaged, or cannot be read.
        """
        return tuple(self._read_file())

    @property
    def has_keyring(self) -> bool:
        """True if the `keyring` library is installed; the system may still have no keyring."""
        return self._keyring() is not None

    @property
    def exposed_file(self) -> Path | None:
        """The key file, if other users of this machine can read it."""
        if self._file is None or sys.platform == "win32":
            return None
        try:
            mode = self._file.stat().st_mode
        except OSError:
            return None
        return self._file if mode & (stat.S_IRWXG | stat.S_IRWXO) else None

    def set(self, provider: str, key: str) -> str:
        """Save a key in the keyring, or in the file without one; return the location.

        Raises:
            UsageError: the key is empty or cannot be sent as an HTTP header.
            ConfigError: there is neither a keyring nor a key file.
        """
        key = check_key(key)
        if self._set_in_keyring(provider, key):
            self._remove_from_file(
                provider
            )  # otherwise the old key would be used again without the keyring
            return KEYRING_ORIGIN
        if self._file is None:
            raise ConfigError("there is no system keyring and no key file")
        with self._changing_file() as keys:
            keys[provider] = key
        return str(self._file)

    def remove(self, provider: str) -> tuple[str, ...]:
        """Remove a key; return the locations it was removed from. Environment variables are not changed."""
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
        except Exception:  # noqa: BLE001  # backends raise arbitrary errors; all mean that it is not available
            return None
        return Key(provider, KEYRING_ORIGIN, value, "keyring") if value else None

    def _set_in_keyring(self, provider: str, key: str) -> bool:
        keyring = self._keyring()
        if keyring is None:
            return False
        try:
            keyring.set_password(KEYRING_SERVICE, provider, key)
            # The "null" backend accepts everything and saves nothing.
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
        except Exception:  # noqa: BLE001  # the library is optional, and its backends fail to load in many ways
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
                f"the key file {self._file} cannot be read: {error.strerror}; check its owner and mode"
            ) from error
        except ValueError:
            keys = None  # the cause is not chained because it contains the text of the file
        if not isinstance(keys, dict) or not all(isinstance(v, str) for v in keys.values()):
            raise ConfigError(
                f"the key file {self._file} is damaged; remove it and set the keys again"
            )
        return keys

    @contextmanager
    def _changing_file(self) -> Iterator[dict[str, str]]:
        """Yield the keys for a change under a lock, so that concurrent changes are not lost."""
        path = Path(os.path.realpath(cast("Path", self._file)))  # a symbolic link is kept
        try:
            with locked_directory(path.parent):
                keys = self._read_file()
                yield keys
                replace_file(path, dump(keys))
        except OSError as error:
            raise ConfigError(
                f"the key file {self._file} cannot be written: {error.strerror}; "
                "check the owner of the directory and the free disk space"
            ) from error


def check_key(key: str) -> str:
    """Return a key without surrounding whitespace.

    Raises:
        UsageError: it is empty or contains characters that an HTTP header cannot carry, often added by pasting.
    """
    key = key.strip()
    if not key:
        raise UsageError("the key is empty")
    if not all("!" <= character <= "~" for character in key):
        raise UsageError(
            "the key contains spaces or characters that API keys do not have; paste it again"
        )
    return key
