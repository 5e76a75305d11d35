"""`omniagent store encrypt` and `rekey`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.framework import encryption_key_source as store_keys
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.errors import UsageError
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.stores.maintenance.rekey import RekeyReport

GenerateKey = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="generate a random key and write it to this new file"),
]

_LOST = "without the key these conversations cannot be read; keep a copy of it in another place"


def encrypt(
    ctx: typer.Context,
    *,
    key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the file with the key")
    ] = None,
    generate_key: GenerateKey = None,
) -> None:
    """Encrypt the whole store in place. If interrupted, run it again to continue."""
    context = current_context(ctx)
    store = context.stores.without_key()
    if generate_key is not None and store.encryption() is not None:
        raise UsageError(
            "the store is already encrypted, at least in part; give its key to continue, or change it with 'omniagent store rekey'"
        )
    key = store_keys.new_key(
        key_file=key_file, generate=generate_key, option="--key-file"
    ) or store_keys.configured_key(context.store_choice, context.keys)
    if key is None and store.encryption() is not None and context.terminal.interactive:
        key = store_keys.ask_key(store, context.store_choice, context.terminal)
    if key is None:
        key = store_keys.new_passphrase(context.terminal, "--key-file")
    context.terminal.warn(_LOST)
    known = key
    done = _running(context, "encrypting", lambda step: store.encrypt(known, step))
    _tell(context, "Encrypted", done)
    _warn_of_copies(context)
    _print_settings(context, key_file or generate_key)


def rekey(
    ctx: typer.Context,
    *,
    new_key_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="the file with the new key")
    ] = None,
    generate_key: GenerateKey = None,
) -> None:
    """Change the key of an encrypted store. If interrupted, run it again to continue."""
    context = current_context(ctx)
    store = context.stores.without_key()
    facts = store.encryption()
    if facts is None:
        raise UsageError(
            f"the store {context.store_choice.shown} is not encrypted; run 'omniagent store encrypt'"
        )
    if facts["state"] == "rekeying" and generate_key is not None:
        raise UsageError(
            "a change to another key was interrupted; complete it with that key: --new-key-file FILE"
        )
    if facts["state"] == "encrypted":
        old = store_keys.configured_key(context.store_choice, context.keys)
        if old is None and context.terminal.interactive:
            old = store_keys.ask_key(store, context.store_choice, context.terminal)
        if old is not None:
            from omniagent_cli.stores import with_encryption

            with_encryption(store, old)
            store.check_key()
    key = store_keys.new_key(
        key_file=new_key_file, generate=generate_key, option="--new-key-file"
    ) or store_keys.new_passphrase(context.terminal, "--new-key-file")
    context.terminal.warn(_LOST)
    done = _running(context, "encrypting", lambda step: store.rekey(key, step))
    _tell(context, "Encrypted with the new key", done)
    _print_settings(context, new_key_file or generate_key)


def _running(
    context: Context, label: str, work: Callable[[Callable[[int], None]], RekeyReport]
) -> RekeyReport:
    total = context.stores.without_key().info().get("messages")
    try:
        with context.terminal.progress(label, total if isinstance(total, int) else None) as step:
            return work(step)
    except KeyboardInterrupt:
        context.terminal.note(
            "Interrupted. Nothing is lost; run the same command again to continue"
        )
        raise


def _tell(context: Context, what: str, done: RekeyReport) -> None:
    from omniagent_cli.complete.id_cache import forget_ids

    forget_ids(context.store_choice.url, context.environ)
    number = f"{counted(done.sessions, 'session')} ({counted(done.messages, 'message')})"
    context.terminal.note(f"{what}: {number} of {context.store_choice.shown}")
    for name in done.damaged:
        context.terminal.warn(
            f"{name!r} contains data that was already unreadable; run 'omniagent store check'"
        )
    for copy in done.copies:
        context.terminal.warn(
            f"the backup {copy} can still be read without this key; delete it when you no longer need it"
        )


def _warn_of_copies(context: Context) -> None:
    """Warn about files outside the store that contain its text."""
    from omniagent_cli.config.paths import state_dir

    history = state_dir(context.environ) / "history"
    if history.exists():
        context.terminal.warn(
            f"{history} still contains lines typed in chats; delete it, and set chat.history to false"
        )


def _print_settings(context: Context, file: Path | None) -> None:
    """Print the command that makes every command use the key."""
    choice = context.store_choice
    name = f"stores.{choice.name}" if choice.name else "store"
    if file is not None and choice.key_file != file.expanduser().absolute():
        path = file.expanduser().absolute()
        context.terminal.note(f"To use it from now on: omniagent config set {name}.key_file {path}")
