"""`omniagent models`: which there are to talk to, and which one to talk to from now on."""

from __future__ import annotations

from datetime import date, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from omniagent_cli.agent.models.providers import RECALL, ModelName, find_provider, parse_model
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.row_output import show_rows
from omniagent_cli.complete.models import read_models
from omniagent_cli.config import chosen_model, config_path, set_value
from omniagent_cli.durations import describe_age, utc_now
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.json_format import format_time, parse_time
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import Column, Table

if TYPE_CHECKING:
    from omniagent_cli.agent.models.discovery import Choice, LocalServer


class Row(NamedTuple):
    """One model that can be used now.

    Attributes:
        origin: why it can: where its provider's key is, which server has it, or what it stands for.
        asked_at: when that was learned; None when nobody had to be asked.
        chosen: it answers where nothing else is named.
        reason: why it is chosen.
        shutdown_date: the day on which its provider shuts it down, if one is announced.
    """

    model: str
    origin: str
    asked_at: datetime | None = None
    chosen: bool = False
    reason: str | None = None
    shutdown_date: date | None = None

    @property
    def record(self) -> dict[str, Any]:
        """Its JSON form."""
        asked_at = format_time(self.asked_at) if self.asked_at else None
        end = self.shutdown_date.isoformat() if self.shutdown_date else None
        return {**self._asdict(), "asked_at": asked_at, "shutdown_date": end}

    @property
    def remark(self) -> str:
        """The last column: whether it is chosen, and its shutdown date."""
        end = f"shutdown {self.shutdown_date}" if self.shutdown_date else ""
        return ", ".join(part for part in ("chosen" * self.chosen, end) if part)


def list_models(
    ctx: typer.Context,
    *,
    provider: Annotated[
        str | None, typer.Option(metavar="PROVIDER", help="only the models of this provider")
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="ask again who was asked within a day")
    ] = False,
    offline: Annotated[bool, typer.Option("--offline", help="ask nobody but this machine")] = False,
) -> None:
    """List the models that can be used now: with a key, on this machine, or built in.

    What a provider offers is remembered for a day.
    """
    from omniagent_cli.cli.models.known_models import FRESH_FOR
    from omniagent_cli.cli.models.model_catalog import Asking

    context = current_context(ctx)
    asking = Asking(context, offline=offline, refresh=refresh, known_for=FRESH_FOR)
    if provider is not None:
        rows = asking.of_provider(find_provider(provider))
    else:
        rows = [*_aliases(context), *asking.everything(), Row(RECALL, "built in")]
    rows = asking.with_shutdown_dates(rows)
    choice = _choice(context, asking.servers, offline=offline, quietly=provider is not None)
    if choice and provider is None and choice.model not in {row.model for row in rows}:
        rows.insert(0, Row(choice.model, "your settings"))
    if choice:
        rows = [_marked(row, choice) for row in rows]
    _show(context, rows)
    if choice and provider is None:
        context.terminal.note(
            f"{choice.model} answers where nothing else is named: {choice.reason}"
        )
    if choice and (warning := asking.shutdown_warning(choice.model)):
        context.terminal.warn(warning)
    if native := asking.native(rows):
        context.terminal.note(f"asked in its own protocol (extra [providers]): {', '.join(native)}")


def _marked(row: Row, choice: Choice) -> Row:
    chosen = row.model == choice.model
    return row._replace(chosen=chosen, reason=choice.reason if chosen else None)


def _choice(
    context: Context, servers: list[LocalServer], *, offline: bool, quietly: bool
) -> Choice | None:
    from omniagent_cli.cli.models.known_models import known_models
    from omniagent_cli.cli.talk.agent_factory import Answering, Wishes

    answering = Answering(
        context.settings,
        Wishes(offline=offline),
        tell=context.terminal.note,
        probe=lambda: servers,
        known=known_models(context.settings),
    )
    try:
        return answering.choice()
    except OmniAgentError as error:
        if isinstance(error, UsageError):
            raise
        if not quietly:
            context.terminal.warn(str(error))
        return None


def _aliases(context: Context) -> list[Row]:
    return [Row(name, f"alias of {model}") for name, model in context.settings.aliases.items()]


def _show(context: Context, rows: list[Row]) -> None:
    now = utc_now()
    columns = [
        Column("MODEL", "cyan", shrink=True),
        Column("BECAUSE OF", shrink=True),
        Column("ASKED"),
        Column("", "yellow"),
    ]
    show_rows(
        context,
        rows,
        record=lambda row: row.record,
        fields=lambda row: [
            plain_field(row.model),
            plain_field(row.origin),
            format_time(row.asked_at) if row.asked_at else "",
            row.remark,
        ],
        table=lambda found: Table(
            columns,
            [
                [
                    one_line(row.model),
                    one_line(row.origin),
                    describe_age(row.asked_at, now) if row.asked_at else "",
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
    """Talk to this model from now on, where a session has none of its own."""
    context = current_context(ctx)
    if model not in context.settings.aliases and model.strip().lower() != RECALL:
        model = _qualified(context, model)
        name = parse_model(model)
        if not name.provider.local and not context.keys.get(
            name.provider.name, name.provider.key_variables
        ):
            context.terminal.warn(
                f"there is no key for {name.provider.title} yet; {name.provider.key_advice}"
            )
        _check_known(context, name)
    file = config_path(context.environ, context.config_file)
    set_value(file, "model", model)
    now, origin = chosen_model(context.settings)
    if origin.layer in ("environment", "flag") and now != model:
        context.terminal.warn(f"{origin} names {now} and wins over {file}")


def _qualified(context: Context, text: str) -> str:
    """Return ``provider:name``; a name without its provider must be of exactly one known model."""
    from omniagent_cli.agent.models.known_models import is_bare
    from omniagent_cli.cli.models.known_models import known_models

    return known_models(context.settings).qualify(text) if is_bare(text) else text


def _check_known(context: Context, name: ModelName) -> None:
    """Warn when the provider did not list this model when it was asked last; it may be new."""
    rows = [
        row for row in read_models(context.environ) if row[0].startswith(f"{name.provider.name}:")
    ]
    offered = {row[0] for row in rows}
    wanted = str(name)
    if not rows or not name.model or wanted in offered or f"{wanted}:latest" in offered:
        return
    age = describe_age(parse_time(rows[0][1]), utc_now())
    close = get_close_matches(wanted, offered, n=3)
    hint = (
        f"did you mean {' or '.join(close)}?" if close else "see `omniagent models list --refresh`"
    )
    context.terminal.warn(
        f"{name.provider.title} offered no {one_line(name.model)} when it was asked ({age}); {hint}"
    )
