"""Check of the settings: files, mistakes, and variables that override files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from omniagent_cli.cli.doctor.check_result import (
    INFO,
    OK,
    PROBLEM,
    WARNING,
    CheckContext,
    Finding,
    format_finding,
)
from omniagent_cli.config.document import Document, leaves
from omniagent_cli.config.layers import user_document
from omniagent_cli.config.paths import config_path, state_dir
from omniagent_cli.config.resolved_value import Origin, check_value
from omniagent_cli.config.setting_names import join_key
from omniagent_cli.config.settings import Settings
from omniagent_cli.config.settings_table import find, is_table, unknown
from omniagent_cli.errors import ConfigError
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.ui.views import counted

_OTHERS_MAY_WRITE = 0o022


def check(checked: CheckContext) -> Iterator[Finding]:
    """Check the files, the environment variables and the state directory."""
    of_file = list(_user_file(checked))
    yield from of_file
    if checked.settings is not None:
        yield from _project_file(checked.settings)
        yield from _overruled(checked.settings)
    elif not any(finding.state == PROBLEM for finding in of_file):
        yield from _other_layers(checked)
    yield from _unknown_variables(checked)
    yield from _remembering(checked)


def _user_file(checked: CheckContext) -> Iterator[Finding]:
    context = checked.context
    try:
        path = config_path(context.environ, context.config_file)
        document = user_document(context.environ, context.config_file)
    except ConfigError as error:
        yield format_finding(error)
        return
    if document is None:
        yield Finding(INFO, f"no settings file {path}; using defaults")
        return
    wrong = list(_wrong(document))
    yield from wrong
    if not wrong:
        number = counted(len(list(leaves(document.data))), "setting")
        yield Finding(OK, f"the settings file {path} sets {number}")
    if os.name == "posix" and path.stat().st_mode & _OTHERS_MAY_WRITE:
        yield Finding(WARNING, f"other users can change {path}", f"chmod go-w {path}")


def _wrong(document: Document) -> Iterator[Finding]:
    """Yield every error in a file; reading the settings stops at the first one."""
    for key, raw in leaves(document.data):
        if setting := find(key):
            try:
                check_value(key, setting, raw, Origin("user", document=document, key=key))
            except ConfigError as error:
                yield format_finding(error)
        elif raw != {} or not is_table(key):
            yield format_finding(ConfigError(f"{document.place(key)}: {unknown(key)}"))


def _project_file(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield format_finding(ConfigError(warning), WARNING)
    if settings.project_file and not settings.warnings:
        yield Finding(OK, f"the project file {settings.project_file} is used")


def _overruled(settings: Settings) -> Iterator[Finding]:
    """Report settings from environment variables, and those that override a file."""
    quiet = []
    for key in settings.keys():  # noqa: SIM118  # not a mapping
        value = settings.lookup(key)
        if value.origin.layer == "environment":
            quiet.append(f"{str(value.origin).removeprefix('variable ')} sets {join_key(key)}")
    if quiet:
        yield Finding(OK, "; ".join(quiet))


def _other_layers(checked: CheckContext) -> Iterator[Finding]:
    """Report why the settings cannot be read, if the user's file is not the cause."""
    from omniagent_cli.config.settings import load_settings

    context = checked.context
    try:
        load_settings(context.environ, context.cwd, context.config_file, context.flags)
    except ConfigError as error:
        yield format_finding(error)


def _unknown_variables(checked: CheckContext) -> Iterator[Finding]:
    from omniagent_cli.cli.reference.environment import variables

    known = {name for group in variables().values() for one in group for name in one.names}
    for name in sorted(checked.context.environ):
        if name.startswith("OMNIAGENT_") and name not in known:
            otherwise = "run 'omniagent help environment' for a list"
            hint = did_you_mean(name, known, otherwise, at_most=1)
            yield Finding(WARNING, f"unknown environment variable {name}", hint)


def _remembering(checked: CheckContext) -> Iterator[Finding]:
    place = nearest(state_dir(checked.context.environ))
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            WARNING,
            f"{place} cannot be written; the last used session, the prompt history and trusted projects are not saved",
            f"make {place} writable, or set XDG_STATE_HOME",
        )


def nearest(path: Path) -> Path:
    """Return the directory, or its nearest existing parent."""
    while not os.path.isdir(path) and path != path.parent:  # noqa: PTH112  # pathlib raises an error without permission
        path = path.parent
    return path
