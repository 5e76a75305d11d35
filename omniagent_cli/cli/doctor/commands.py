"""`omniagent doctor`: check the installation and suggest remedies. It changes nothing."""

from __future__ import annotations

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
    INFO,
    OK,
    PROBLEM,
    WARNING,
    Check,
    CheckContext,
    Finding,
    format_finding,
)
from omniagent_cli.cli.framework.context import Context, current_context
from omniagent_cli.cli.framework.exits import DONE, FAILED
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.process_end import start_daemon
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
"""The checks, in the order of the output."""

_PATIENCE_SECONDS = 8.0
_PATIENCE_DEEP_SECONDS = 60.0
_STYLES = {OK: "green", INFO: "dim", WARNING: "yellow", PROBLEM: "bold red"}


class _Result(NamedTuple):
    area: str
    finding: Finding


def doctor(
    ctx: typer.Context,
    *,
    offline: Annotated[
        bool, typer.Option("--offline", help="make no request to providers")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="also start the MCP servers, which may take a while")
    ] = False,
) -> int:
    """Check what is configured, reachable and installed, and suggest remedies.

    Nothing is changed and no key is printed. Exit code 1 if there is a problem.
    """
    context = current_context(ctx)
    checked = CheckContext(context, _settings(context), offline, deep)
    seconds = _PATIENCE_DEEP_SECONDS if deep else _PATIENCE_SECONDS
    found = _run_checks(checked, seconds)
    _show(context, found)
    return FAILED if any(one.finding.state == PROBLEM for one in found) else DONE


def _settings(context: Context) -> Settings | None:
    """Return the settings, or None if they are invalid, which a check reports."""
    from omniagent_cli.config.settings import load_settings

    try:
        settings = load_settings(context.environ, context.cwd, context.config_file, context.flags)
    except OmniAgentError:
        return None
    context.settings = settings
    context.terminal.configure(settings)
    return settings


def _run_checks(checked: CheckContext, seconds: float) -> list[_Result]:
    """Run all checks in parallel."""
    found: dict[str, list[Finding]] = {}
    deadline = time.monotonic() + seconds

    def look(area: str, check: Check) -> None:
        found[area] = _findings(check, checked)

    # Daemon threads: a server that hangs must not delay the end of the program.
    threads = [start_daemon(look, *pair, name="omniagent-doctor") for pair in AREAS.items()]
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    slow = Finding(PROBLEM, f"no answer within {seconds:g} s", "check its server")
    done = found.copy()
    return [_Result(area, finding) for area in AREAS for finding in done.get(area, [slow])]


def _findings(check: Check, checked: CheckContext) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(check(checked))
    except OmniAgentError as error:
        found.append(format_finding(error))
    except Exception as error:  # noqa: BLE001  # a failed check is a finding; the others are still shown
        what = f"the check failed: {type(error).__name__}: {error}"
        found.append(Finding(PROBLEM, what, "please report this bug"))
    return found


def _show(context: Context, found: list[_Result]) -> None:
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
    summary = [counted(number, state) for state, number in counts.items() if number]
    context.terminal.note(" and ".join(reversed(summary)) or "No problems found")


def _show_person(context: Context, found: Iterable[_Result]) -> None:
    terminal = context.terminal
    width, last = max(30, terminal.width), ""
    with terminal.paged() as out:
        for area, finding in found:
            if area != last:
                out.line(("\n" if last else "") + terminal.style(area, "bold"))
                last = area
            state = "-" if finding.state == INFO else finding.state
            label = terminal.style(f"{state:7}", _STYLES[finding.state])
            lines = wrap_cells(terminal.shown(one_line(finding.what)), width - 10)
            out.line(f"  {label} {lines[0]}")
            for line in lines[1:]:
                out.line(f"{'':10}{line}")
            if finding.do and (finding.state in (WARNING, PROBLEM) or terminal.verbose):
                for line in wrap_cells(f"-> {terminal.shown(one_line(finding.do))}", width - 10):
                    out.line(f"{'':10}{terminal.style(line, 'bold')}")
