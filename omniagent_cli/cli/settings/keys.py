"""`omniagent keys`: set, list and remove provider keys; a key is never printed."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer

from omniagent_cli.agent.models.providers import PROVIDERS, find_provider
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.keys import KEYRING_EXTRA, KEYRING_ORIGIN, check_key
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table

_LONGEST_BYTES = 20_000

ProviderArgument = Annotated[
    str, typer.Argument(metavar="PROVIDER", help="a provider, such as openai")
]


class _Row(NamedTuple):
    """The location of a key.

    Attributes:
        where: ``environment``, ``keyring`` or ``file``.
        place: the name of the variable, the keyring, or the path of the file.
        used: this key is sent; it takes precedence over those of the same provider in later locations.
    """

    provider: str
    where: str
    place: str
    used: bool


def list_keys(ctx: typer.Context) -> None:
    """List the providers that have a key, and its location. Keys are never printed."""
    context = current_context(ctx)
    names = dict.fromkeys((*PROVIDERS, *context.keys.names_in_file()))
    rows = [
        _Row(name, key.where, key.origin, used=key is found[0])
        for name in names
        for found in [context.keys.places(name, _variables(name))]
        for key in found
    ]
    if exposed := context.keys.exposed_file:
        context.terminal.warn(
            f"other users of this machine can read {exposed}; run: chmod 600 {exposed}"
        )
    show_rows(
        context,
        rows,
        record=_Row._asdict,
        fields=lambda row: [
            plain_field(row.provider), row.where, plain_field(row.place), "used" * row.used,
        ],
        table=_table,
        empty="no provider has a key. Set one: omniagent keys set openai",
    )  # fmt: skip


def _table(rows: Any) -> Table:
    columns = [
        Column("PROVIDER", "cyan"),
        Column("WHERE"),
        Column("PLACE", shrink=True),
        Column("", "yellow"),
    ]
    cells = [
        [one_line(row.provider), row.where, one_line(row.place), "used" * row.used] for row in rows
    ]
    return Table(columns, cells)


def set_(
    ctx: typer.Context,
    *,
    provider: ProviderArgument,
    given: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Save a provider's key, typed at a hidden prompt or read from stdin.

    It is saved in the system keyring if there is one, else in a file that only you can read.
    """
    context = current_context(ctx)
    row = find_provider(provider)
    if given:
        raise UsageError(
            "keys are not accepted on the command line, where other programs and the shell history can read them; "
            f"type it at the prompt of `omniagent keys set {row.name}`, or pipe it in, and replace the one you typed"
        )
    key = check_key(
        _typed(context, row.title) if context.terminal.reads_terminal else _piped(context)
    )
    place = context.keys.set(row.name, key)
    if place == KEYRING_ORIGIN:
        context.terminal.note(f"Saved the key for {row.title} in the system keyring")
    else:
        why = (
            "the system keyring is not available"
            if context.keys.has_keyring
            else f"for a system keyring, run {KEYRING_EXTRA}"
        )
        context.terminal.note(
            f"Saved the key for {row.title} in {place}, unencrypted, readable only by you: {why}"
        )
    if variable := context.keys.find_in_environment(row.name, row.key_variables):
        context.terminal.warn(f"{variable.origin} is set and takes precedence")


def _typed(context: Context, title: str) -> str:
    key = context.terminal.ask_secret(f"Key for {title} (hidden): ")
    if not key or not key.strip():
        raise UsageError("no key entered; nothing changed")
    return key


def _piped(context: Context) -> str:
    stream = context.terminal.stdin
    data = getattr(stream, "buffer", stream).read(_LONGEST_BYTES + 1) if stream else b""
    if len(data) > _LONGEST_BYTES:
        raise UsageError("the text on stdin is too long for a key")
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    if not text.strip():
        raise UsageError(
            "no key on stdin; pipe one in, for example: pass show openai | omniagent keys set openai"
        )
    if len(text.strip().splitlines()) > 1:
        raise UsageError("stdin has more than one line; pipe in only the key")
    return text


def remove(ctx: typer.Context, *, provider: ProviderArgument) -> None:
    """Remove the saved key of a provider."""
    context = current_context(ctx)
    name = provider if provider in context.keys.names_in_file() else find_provider(provider).name
    places = context.keys.remove(name)
    left = context.keys.find_in_environment(name, _variables(name))
    if places:
        context.terminal.note(f"Removed the key for {name} from {' and '.join(places)}")
    elif not left:
        raise OmniAgentError(f"no key for {name} is saved; run 'omniagent keys list'")
    if left:
        reason = f"{left.origin} is set and still used; unset it in your shell"
        if not places:
            raise OmniAgentError(f"no key for {name} is saved: {reason}")
        context.terminal.warn(reason)


def _variables(name: str) -> tuple[str, ...]:
    return PROVIDERS[name].key_variables if name in PROVIDERS else ()
