"""Sources of the key of an encrypted store: a flag, a variable, a file, the system keyring, or the user."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omniagent_cli.errors import ConfigError, UsageError
from omniagent_cli.keys import KEYRING_EXTRA

if TYPE_CHECKING:
    from omniagent_cli.config.resolution import StoreChoice
    from omniagent_cli.keys import KeyChain
    from omniagent_cli.stores import SessionStore
    from omniagent_cli.stores.encryption.cipher import Key
    from omniagent_cli.ui.terminal import Terminal

KEYRING = "keyring:"
"""Prefix of ``store.key_file`` or its variable for a key in the system keyring; the name of the key follows."""

KEY_ADVICE = "set store.key_file to the file that holds it, or to keyring:NAME, or set OMNIAGENT_ENCRYPTION_KEY[_FILE]"
"""Advice on setting a key, for the end of a message."""

_ATTEMPTS = 3
_LARGEST_KEY_FILE_BYTES = 64 << 10


def apply_encryption_key(
    store: SessionStore, choice: StoreChoice, keys: KeyChain, terminal: Terminal
) -> SessionStore:
    """Return a store with its configured key, or able to ask the user for it.

    A configured key means encryption, unless ``store.encrypt`` is false: then it only opens an encrypted store.

    Raises:
        ConfigError: the settings require encryption, but no key is configured.
    """
    if terminal.interactive:
        store.ask_key = lambda: ask_key(store, choice, terminal)
    configured = choice.key or choice.key_file
    if configured and (choice.encrypt is not False or store.encryption() is not None):
        from omniagent_cli.stores import with_encryption

        key = configured_key(choice, keys)
        assert key is not None  # noqa: S101  # it is configured
        if choice.location.scheme != "memory":
            source = "OMNIAGENT_ENCRYPTION_KEY" if choice.key else str(choice.key_file)
            what = f"The new store {choice.shown} is encrypted with the key in {source}. Without this key its sessions cannot be read."
            store.on_encrypted = lambda: terminal.note(what)
        return with_encryption(store, key)
    if choice.encrypt and not configured and not (store.ask_key and store.encryption() is not None):
        name = f"stores.{choice.name}" if choice.name else "store"
        raise ConfigError(f"{name}.encrypt is set, but no key is configured; {KEY_ADVICE}")
    return store


def configured_key(choice: StoreChoice, keys: KeyChain) -> Key | None:
    """Return the key from the settings or the environment, or None.

    Raises:
        ConfigError: the key that they name is missing or invalid.
    """
    from omniagent_cli.stores.encryption.cipher import parse_key

    for text in (choice.key, str(choice.key_file or "")):
        if text and text.startswith(KEYRING):
            return parse_key(_from_keyring(keys, text.removeprefix(KEYRING)))
    if choice.key:
        return parse_key(choice.key)
    return None if choice.key_file is None else read_key_file(choice.key_file)


def _from_keyring(keys: KeyChain, name: str) -> str:
    found = keys.get(name)
    if found is None and not keys.has_keyring:
        raise ConfigError(
            f"the key {name!r} is in the system keyring, which needs an extra: {KEYRING_EXTRA}"
        )
    if found is None:
        raise ConfigError(
            f"the system keyring has no key {name!r}; store it with: keyring set omniagent {name}"
        )
    return found


def read_key_file(path: Path) -> Key:
    """Read a key file: a key or a passphrase as text, or exactly 16, 24 or 32 bytes.

    Raises:
        ConfigError: it cannot be read, or does not contain a key.
    """
    from omniagent_cli.stores.encryption.cipher import check_key, parse_key

    try:
        with path.expanduser().open("rb") as file:
            data = file.read(_LARGEST_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the key file {path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8").strip()
        if text.isprintable() and len(data) <= _LARGEST_KEY_FILE_BYTES:
            return parse_key(text)
    except UnicodeDecodeError:
        pass  # raw bytes, or not a key
    try:
        return check_key(data)
    except ConfigError as error:
        raise ConfigError(
            f"the key file {path} does not contain a key: one line of text, or exactly 16, 24 or 32 bytes"
        ) from error


def write_key_file(path: Path) -> Key:
    """Generate a random key of 32 bytes and write it to a new private file, as base64.

    Raises:
        UsageError: the file already exists, or cannot be created.
    """
    import os
    from base64 import b64encode

    key = os.urandom(32)
    try:
        descriptor = os.open(path.expanduser(), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b64encode(key) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise UsageError(f"{path} already exists; choose a new file for the key") from error
    except OSError as error:
        raise UsageError(f"cannot create the key file {path}: {error.strerror}") from error
    return key


def ask_key(store: SessionStore, choice: StoreChoice, terminal: Terminal) -> Key | None:
    """Ask the user for the key of a store; return None without an answer."""
    from omniagent_cli.stores.encryption.cipher import parse_key

    for _ in range(_ATTEMPTS):
        text = terminal.ask_secret(f"Key or passphrase of {choice.shown}: ")
        if not text:
            return None
        key = parse_key(text)
        if store.key_matches(key):
            return key
        terminal.note("Wrong key or passphrase")
    return None


def new_key(*, key_file: Path | None, generate: Path | None, option: str) -> Key | None:
    """Return the new key that the command line names, or None.

    Args:
        key_file: a file with the key.
        generate: a new file for a generated key.
        option: name of the option for `key_file`, for messages.

    Raises:
        UsageError: both are given, or the new file cannot be created.
        ConfigError: the file does not contain a key, or encryption is not installed.
    """
    if key_file is not None and generate is not None:
        raise UsageError(f"{option} and --generate-key cannot be used together")
    if generate is not None:
        from omniagent_cli.stores.encryption.cipher import require_library

        require_library()  # before the file is created, which nothing would be encrypted with
        return write_key_file(generate)
    return None if key_file is None else read_key_file(key_file)


def new_passphrase(terminal: Terminal, option: str) -> Key:
    """Ask the user for a new passphrase, twice.

    Args:
        terminal: the terminal.
        option: name of the option that gives a key file, for messages.

    Raises:
        UsageError: the terminal is not interactive, or the answers are empty or differ.
    """
    from omniagent_cli.stores.encryption.cipher import parse_key

    if not terminal.interactive:
        raise UsageError(f"no key; use {option} FILE, or --generate-key FILE to create one")
    first = terminal.ask_secret("New passphrase: ")
    if not first:
        raise UsageError("no passphrase; nothing was changed")
    if terminal.ask_secret("Repeat the passphrase: ") != first:
        raise UsageError("the passphrases differ; nothing was changed")
    return parse_key(first)
