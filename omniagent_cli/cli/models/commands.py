"""`omniagent models`: list the available models and set the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.agent.models.providers import RECALL, ModelName, find_provider, parse_model
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.cli.models.model_row import ModelRow
from omniagent_cli.complete.models import read_models
from omniagent_cli.config.edit import set_value
from omniagent_cli.config.paths import config_path
from omniagent_cli.config.resolution import chosen_model
from omniagent_cli.durations import describe_age, utc_now
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table

if TYPE_CHECKING:
    from omniagent_cli.agent.models.discovery import LocalServer, ModelChoice


def list_models(
    ctx: typer.Context,
    *,
    provider: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="list only the models of this provider")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="request all lists again, ignoring the cache")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="request only lists on this machine")
    ] = False,
) -> None:
    """List the available models: with an API key, on this machine, or built in.

    The list of a provider is cached for a day.
    """
    from omniagent_cli.cli.models.known_models import FRESH_FOR
    from omniagent_cli.cli.models.model_catalog import ModelCatalog

    context = current_context(ctx)
    catalog = ModelCatalog(context, offline=offline, refresh=refresh, max_age=FRESH_FOR)
    if provider is not None:
        rows = catalog.provider_rows(find_provider(provider))
    else:
        rows = [*_aliases(context), *catalog.all_rows(), ModelRow(RECALL, "built in")]
    rows = catalog.with_shutdown_dates(rows)
    choice = _default_model(context, catalog.servers, offline=offline, quietly=provider is not None)
    if choice and provider is None and choice.model not in {row.model for row in rows}:
        rows.insert(0, ModelRow(choice.model, "your settings"))
    if choice:
        rows = [_mark_chosen(row, choice) for row in rows]
    _show(context, rows)
    if choice and provider is None:
        context.terminal.note(f"Default model: {choice.model}; {choice.reason}")
    if choice and (warning := catalog.shutdown_warning(choice.model)):
        context.terminal.warn(warning)
    if native_titles := catalog.native_titles(rows):
        context.terminal.note(
            f"Using the native protocol (extra [providers]): {', '.join(native_titles)}"
        )


def _mark_chosen(row: ModelRow, choice: ModelChoice) -> ModelRow:
    chosen = row.model == choice.model
    return row._replace(chosen=chosen, reason=choice.reason if chosen else None)


def _default_model(
    context: Context, servers: list[LocalServer], *, offline: bool, quietly: bool
) -> ModelChoice | None:
    from omniagent_cli.cli.models.known_models import known_models
    from omniagent_cli.cli.talk.agent_factory import AgentFactory
    from omniagent_cli.cli.talk.agent_options import AgentOptions

    factory = AgentFactory(
        context.settings,
        AgentOptions(offline=offline),
        tell=context.terminal.note,
        probe=lambda: servers,
        known=known_models(context.settings),
    )
    try:
        return factory.choice()
    except OmniAgentError as error:
        if isinstance(error, UsageError):
            raise
        if not quietly:
            context.terminal.warn(str(error))
        return None


def _aliases(context: Context) -> list[ModelRow]:
    return [ModelRow(name, f"alias of {model}") for name, model in context.settings.aliases.items()]


def _show(context: Context, rows: list[ModelRow]) -> None:
    now = utc_now()
    columns = [
        Column("MODEL", "cyan", shrink=True),
        Column("SOURCE", shrink=True),
        Column("UPDATED"),
        Column("", "yellow"),
    ]
    show_rows(
        context,
        rows,
        record=lambda row: row.record,
        fields=lambda row: [
            plain_field(row.model),
            plain_field(row.origin),
            format_time(row.updated_at) if row.updated_at else "",
            row.remark,
        ],
        table=lambda found: Table(
            columns,
            [
                [
                    one_line(row.model),
                    one_line(row.origin),
                    describe_age(row.updated_at, now) if row.updated_at else "",
                    row.remark,
                ]
                for row in found
            ],
        ),
    )


def use(
    ctx: typer.Context,
    *,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="provider:name, or one of your aliases")
    ],
) -> None:
    """Set the default model, for sessions that have none of their own."""
    context = current_context(ctx)
    if model not in context.settings.aliases and model.strip().lower() != RECALL:
        model = _qualify(context, model)
        name = parse_model(model)
        if not name.provider.local and not context.keys.get(
            name.provider.name, name.provider.key_variables
        ):
            context.terminal.warn(
                f"no API key for {name.provider.title}; {name.provider.key_advice}"
            )
        _check_known(context, name)
    file = config_path(context.environ, context.config_file)
    set_value(file, "model", model)
    now, origin = chosen_model(context.settings)
    if origin.layer in ("environment", "flag") and now != model:
        context.terminal.warn(f"{origin} sets {now} and overrides {file}")


def _qualify(context: Context, text: str) -> str:
    """Return ``provider:name``; a name without its provider must match exactly one known model."""
    from omniagent_cli.agent.models.known_models import is_bare
    from omniagent_cli.cli.models.known_models import known_models

    return known_models(context.settings).qualify(text) if is_bare(text) else text


def _check_known(context: Context, name: ModelName) -> None:
    """Warn if the cached list of the provider lacks the model, which may be new."""
    rows = [
        row for row in read_models(context.environ) if row[0].startswith(f"{name.provider.name}:")
    ]
    offered = {row[0] for row in rows}
    full_name = str(name)
    if not rows or not name.model or full_name in offered or f"{full_name}:latest" in offered:
        return
    age = describe_age(parse_time(rows[0][1]), utc_now())
    hint = did_you_mean(full_name, offered, "run `omniagent models list --refresh`")
    context.terminal.warn(
        f"{name.provider.title} did not list {one_line(name.model)} ({age}); {hint}"
    )
