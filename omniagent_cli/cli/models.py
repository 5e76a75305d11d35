"""`omniagent models`: which there are to talk to, and which one to talk to from now on."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from omniagent_cli.agent.discovery import list_models as ask_provider
from omniagent_cli.agent.discovery import probe_local_servers
from omniagent_cli.agent.providers import PROVIDERS, RECALL, Provider, base_url_for, parse_model
from omniagent_cli.cli.context import Context, running
from omniagent_cli.cli.listing import show_rows
from omniagent_cli.config import chosen_model, config_path, set_value
from omniagent_cli.text import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table


class _Row(NamedTuple):
    """One model that can be used now.

    Attributes:
        origin: why it can: where its key is, or which server has it.
        chosen: the settings name it.
    """

    model: str
    origin: str
    chosen: bool


def list_models(
    ctx: typer.Context,
    *,
    provider: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="all models of one provider, as it lists them itself"),
    ] = None,
) -> None:
    """List the models that can be used now: with a key, on this machine, or built in."""
    context = running(ctx)
    named, _ = chosen_model(context.settings)
    rows = _of_provider(context, provider) if provider else _usable(context)
    if named and ":" not in named and named != RECALL:
        named = str(parse_model(named, origin="agent.provider"))
    if named and not provider and named not in {model for model, _ in rows}:
        rows.insert(0, (named, "your settings"))
    show_rows(
        context,
        [_Row(model, origin, model == named) for model, origin in rows],
        record=_Row._asdict,
        fields=lambda row: [plain_field(row.model), plain_field(row.origin), "chosen" * row.chosen],
        table=lambda found: Table(
            [
                Column("MODEL", "cyan", shrink=True),
                Column("BECAUSE OF", shrink=True),
                Column("", "yellow"),
            ],
            [[one_line(row.model), one_line(row.origin), "chosen" * row.chosen] for row in found],
        ),
    )


def _usable(context: Context) -> list[tuple[str, str]]:
    keys = context.keys
    rows = []
    for provider in PROVIDERS.values():
        key = None if provider.local else keys.find(provider.name, provider.key_variables)
        if key:
            rows.append((f"{provider.name}:{provider.default_model}", key.origin))
    for server in probe_local_servers(environ=context.environ):
        rows += [(f"{server.provider.name}:{model}", server.base_url) for model in server.models]
    return [*rows, (RECALL, "built in")]


def _of_provider(context: Context, name: str) -> list[tuple[str, str]]:
    from omniagent_cli.agent.providers import find_provider

    provider = find_provider(name)
    address = base_url_for(provider, context.settings.agent.base_url, environ=context.environ)
    models = ask_provider(provider, base_url=address, api_key=_key(context, provider))
    return [(f"{provider.name}:{model}", address) for model in models]


def _key(context: Context, provider: Provider) -> str:
    return context.keys.get(provider.name, provider.key_variables) or ""


def use(
    ctx: typer.Context,
    *,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="provider:name, or one of your aliases")
    ],
) -> None:
    """Talk to this model from now on, where a session has none of its own."""
    context = running(ctx)
    if model not in context.settings.aliases and model != RECALL:
        name = parse_model(model)
        if not name.provider.local and not _key(context, name.provider):
            context.terminal.warn(
                f"there is no key for {name.provider.title} yet; set {name.provider.key_variables[0]}"
            )
    file = config_path(context.environ, context.config_file)
    set_value(file, "model", model)
    now, origin = chosen_model(context.settings)
    if origin.layer in ("environment", "flag") and now != model:
        context.terminal.warn(f"{origin} names {now} and wins over {file}")
