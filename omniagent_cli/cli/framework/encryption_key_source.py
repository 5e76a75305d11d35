"""Where the key of an encrypted store comes from: a flag, a variable, a file, the system keyring, or a person."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omniagent_cli.errors import ConfigError, UsageError
from omniagent_cli.keys import KEYRING_EXTRA

if TYPE_CHECKING:
    from omniagent_cli.cli.framework.context import Context
    from omniagent_cli.stores import SessionStore
    from omniagent_cli.stores.encryption.cipher import Key

KEYRING = "keyring:"
"""What ``store.key_file`` or the variable begins with when the key is in the system keyring, under the name after it."""

HOW = "set store.key_file to the file that holds it, or to keyring:NAME, or set OMNIAGENT_ENCRYPTION_KEY[_FILE]"

_TRIES = 3
_LARGEST_KEY_FILE = 64 << 10


def keyed(context: Context, store: SessionStore) -> SessionStore:
    """Give a store that was just opened the key it needs, or the means to ask for it.

    Raises:
        ConfigError: the settings say that it is to be encrypted, and there is no key.
    """
    choice = context.store_choice
    if context.terminal.interactive:
        store.ask_key = lambda: asked_key(context, store)
    given = choice.key or choice.key_file
    if not given and not choice.encrypt:
        return store
    marked = store.encryption() is not None
    if given and (choice.encrypt or marked):
        from omniagent_cli.stores import with_encryption

        key = configured_key(context)
        assert key is not None  # noqa: S101  # it is given
        return with_encryption(store, key)
    if choice.encrypt and not (marked and store.ask_key):
        name = f"stores.{choice.name}" if choice.name else "store"
        raise ConfigError(f"{name}.encrypt is set, and there is no key; {HOW}")
    return store


def configured_key(context: Context) -> Key | None:
    """Return the key that the settings or the environment give.

    Raises:
        ConfigError: they name one that is not there or is none.
    """
    from omniagent_cli.stores.encryption.cipher import parse_key

    choice = context.store_choice
    for text in (choice.key, str(choice.key_file or "")):
        if text and text.startswith(KEYRING):
            return parse_key(_from_keyring(context, text.removeprefix(KEYRING)))
    if choice.key:
        return parse_key(choice.key)
    return None if choice.key_file is None else read_key_file(choice.key_file)


def _from_keyring(context: Context, name: str) -> str:
    found = context.keys.get(name)
    if found is None and not context.keys.has_keyring:
        raise ConfigError(
            f"the key {name!r} is in the system keyring, which needs an extra: {KEYRING_EXTRA}"
        )
    if found is None:
        raise ConfigError(
            f"the system keyring has no key {name!r}; put it there with: keyring set omniagent {name}"
        )
    return found


def read_key_file(path: Path) -> Key:
    """Read a key file: a key or a passphrase as text, or exactly 16, 24 or 32 bytes.

    Raises:
        ConfigError: it cannot be read, or holds no key.
    """
    from omniagent_cli.stores.encryption.cipher import check_key, parse_key

    try:
        with path.expanduser().open("rb") as file:
            data = file.read(_LARGEST_KEY_FILE + 1)
    except OSError as error:
        raise ConfigError(f"the key file {path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8").strip()
        if text.isprintable() and len(data) <= _LARGEST_KEY_FILE:
            return parse_key(text)
    except UnicodeDecodeError:
        pass  # then it is raw bytes, or nothing
    try:
        return check_key(data)
    except ConfigError as error:
        raise ConfigError(
            f"the key file {path} holds no key: that is one line of text, or exactly 16, 24 or 32 bytes"
        ) from error


def write_key_file(path: Path) -> Key:
    """Make a new random key of 32 bytes and write it to a new private file, as base64.

    Raises:
        UsageError: the file is there already, or cannot be made.
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
        raise UsageError(
            f"{path} is there already and was left alone; name a new file for the key"
        ) from error
    except OSError as error:
        raise UsageError(f"the key file {path} cannot be made: {error.strerror}") from error
    return key


def asked_key(context: Context, store: SessionStore) -> Key | None:
    """Ask a person for the key of a store; None when they do not know it."""
    from omniagent_cli.stores.encryption.cipher import parse_key

    question = f"key or passphrase of {context.store_choice.shown}: "
    for _ in range(_TRIES):
        text = context.terminal.ask_secret(question)
        if not text:
            return None
        key = parse_key(text)
        if store.opens_with(key):
            return key
        context.terminal.note("that is not the key of this store")
    return None


def new_key(
    context: Context, *, key_file: Path | None, generate: Path | None, option: str
) -> Key | None:
    """Return the key that a command line gives for a store to have from now on; None when it gives none.

    Raises:
        UsageError: two are given, or the new file cannot be made.
        ConfigError: the file that is named holds no key, or encryption is not installed.
    """
    if key_file is not None and generate is not None:
        raise UsageError(f"{option} and --generate-key contradict each other; give one of them")
    if generate is not None:
        from omniagent_cli.stores.encryption.cipher import require_library

        require_library()  # else a key would be left behind that nothing is encrypted with
        return write_key_file(generate)
    return None if key_file is None else read_key_file(key_file)


def chosen_passphrase(context: Context, option: str) -> Key:
    """Let a person think of a passphrase, and type it twice.

    Raises:
        UsageError: there is nobody to ask, or the two differ.
    """
    from omniagent_cli.stores.encryption.cipher import parse_key

    if not context.terminal.interactive:
        raise UsageError(f"give the key: {option} FILE, or --generate-key FILE to make one")
    first = context.terminal.ask_secret("new passphrase: ")
    if not first:
        raise UsageError("no passphrase was given; nothing was changed")
    if context.terminal.ask_secret("the same again: ") != first:
        raise UsageError("the two passphrases differ; nothing was changed")
    return parse_key(first)
