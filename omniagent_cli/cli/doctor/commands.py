"""`omniagent doctor`: what works, what does not, and what to do about it. It changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Annotated, NamedTuple

import typer

from omniagent_cli.cli.doctor import (
    completion,
    configuration,
    extras,
    mcp,
    models,
    store,
    terminal,
    versions,
)
from omniagent_cli.cli.doctor.check_result import (
    OK,
    PROBLEM,
    WARNING,
    Check,
    Finding,
    Patient,
    told,
)
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import DONE, FAILED
from omniagent_cli.config import Settings
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.text.sanitize import one_line, plain_field
from omniagent_cli.ui.cells import wrap_cells
from omniagent_cli.ui.views import counted

AREAS: dict[str, Check] = {
    "configuration": configuration.check,
    "store": store.check,
    "models": models.check,
    "extras": extras.check,
    "mcp": mcp.check,
    "terminal": terminal.check,
    "completion": completion.check,
    "versions": versions.check,
}
"""What is looked at, in this order."""

_PATIENCE_SECONDS = 8.0
_PATIENCE_DEEP_SECONDS = 60.0
_STYLES = {OK: "green", WARNING: "yellow", PROBLEM: "bold red"}


class _Told(NamedTuple):
    area: str
    finding: Finding


def doctor(
    ctx: typer.Context,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="ask no provider on the net for its models")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="start the MCP servers too, which may take a while")
    ] = False,
) -> int:
    """Say what is configured, reachable and installed, and what to do about what is not.

    Nothing is changed, and no key is shown. Exit code 1 when there is a problem.
    """
    context = current_context(ctx)
    patient = Patient(context, _settings(context), offline, deep)
    seconds = _PATIENCE_DEEP_SECONDS if deep else _PATIENCE_SECONDS
    found = _looked_at(patient, seconds)
    _show(context, found)
    return FAILED if any(one.finding.state == PROBLEM for one in found) else DONE


def _settings(context: Context) -> Settings | None:
    """Return the settings, without telling what is wrong with them: that is told as a finding."""
    from omniagent_cli.config import load_settings

    try:
        settings = load_settings(context.environ, context.cwd, context.config_file, context.flags)
    except OmniAgentError:
        return None
    context.settings = settings
    context.terminal.color = settings.display.color
    context.terminal.pager = settings.display.pager
    context.terminal.theme = settings.chat.theme
    return settings


def _looked_at(patient: Patient, seconds: float) -> list[_Told]:
    """Look at all areas at once, so that the slowest one decides how long it takes."""
    found: dict[str, list[Finding]] = {}
    deadline = time.monotonic() + seconds

    def look(area: str, check: Check) -> None:
        found[area] = _findings(check, patient)

    # Daemons: a server that hangs must not hold up the end of the program.
    threads = [threading.Thread(target=look, args=pair, daemon=True) for pair in AREAS.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    slow = Finding(PROBLEM, f"there was no answer within {seconds:g} s", "look at its server")
    done = found.copy()
    return [_Told(area, finding) for area in AREAS for finding in done.get(area, [slow])]


def _findings(check: Check, patient: Patient) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(patient))
    except OmniAgentError as error:
        found.append(told(error))
    except Exception as error:  # noqa: BLE001  # what breaks one area is a finding, and the others are told all the same
        what = f"this could not be looked at: {type(error).__name__}: {error}"
        found.append(Finding(PROBLEM, what, "please report it"))
    return found


def _show(context: Context, found: list[_Told]) -> None:
    counts = {
        state: sum(one.finding.state == state for one in found) for state in (WARNING, PROBLEM)
    }
    if context.json:
        checks = [{"area": area, **finding._asdict()} for area, finding in found]
        context.terminal.json(
            {"checks": checks, "warnings": counts[WARNING], "problems": counts[PROBLEM]}
        )
        return
    if context.terminal.is_terminal:
        _show_person(context, found)
    else:
        for area, finding in found:
            context.terminal.fields([area, *map(plain_field, finding)])
    told_counts = [counted(number, state) for state, number in counts.items() if number]
    context.terminal.note(" and ".join(reversed(told_counts)) or "all is well")


def _show_person(context: Context, found: Iterable[_Told]) -> None:
    terminal = context.terminal
    width, last = max(30, terminal.width), ""
    with terminal.paged() as out:
        for area, finding in found:
            if area != last:
                out.line(("\n" if last else "") + terminal.style(area, "bold"))
                last = area
            label = terminal.style(f"{finding.state:7}", _STYLES[finding.state])
            lines = wrap_cells(terminal.shown(one_line(finding.what)), width - 10)
            out.line(f"  {label} {lines[0]}")
            for line in lines[1:]:
                out.line(f"{'':10}{line}")
            if finding.do and (finding.state != OK or terminal.verbose):
                for line in wrap_cells(f"-> {terminal.shown(one_line(finding.do))}", width - 10):
                    out.line(f"{'':10}{terminal.style(line, 'dim')}")
