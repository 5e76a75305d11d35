"""Settings: the files there are, everything that is wrong in them, and who sets what."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from omniagent_cli.cli.doctor.check_result import OK, PROBLEM, WARNING, Finding, Patient, told
from omniagent_cli.config import Settings, config_path, state_dir
from omniagent_cli.config.document import Document, leaves
from omniagent_cli.config.layers import user_document
from omniagent_cli.config.resolved_value import Origin, checked
from omniagent_cli.config.setting_names import join_key
from omniagent_cli.config.settings_table import find, is_table, unknown
from omniagent_cli.errors import ConfigError
from omniagent_cli.ui.views import counted

_OTHERS_MAY_WRITE = 0o022


def check(patient: Patient) -> Iterator[Finding]:
    """Look at the files, the variables, and the directory of what is remembered."""
    of_file = list(_user_file(patient))
    yield from of_file
    if patient.settings is not None:
        yield from _project_file(patient.settings)
        yield from _overruled(patient.settings)
    elif not any(finding.state == PROBLEM for finding in of_file):
        yield from _other_layers(patient)
    yield from _unknown_variables(patient)
    yield from _remembering(patient)


def _user_file(patient: Patient) -> Iterator[Finding]:
    context = patient.context
    try:
        path = config_path(context.environ, context.config_file)
        document = user_document(context.environ, context.config_file)
    except ConfigError as error:
        yield told(error)
        return
    if document is None:
        yield Finding(OK, f"there is no settings file {path}, so the defaults hold")
        return
    wrong = list(_wrong(document))
    yield from wrong
    if not wrong:
        number = counted(len(list(leaves(document.data))), "setting")
        yield Finding(OK, f"the settings file {path} sets {number}")
    if os.name == "posix" and path.stat().st_mode & _OTHERS_MAY_WRITE:
        yield Finding(WARNING, f"others may change {path}", f"chmod go-w {path}")


def _wrong(document: Document) -> Iterator[Finding]:
    """Yield every mistake of a file, where reading settings stops at the first."""
    for key, raw in leaves(document.data):
        if setting := find(key):
            try:
                checked(key, setting, raw, Origin("user", document=document, key=key))
            except ConfigError as error:
                yield told(error)
        elif raw != {} or not is_table(key):
            yield told(ConfigError(f"{document.place(key)}: {unknown(key)}"))


def _project_file(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield told(ConfigError(warning), WARNING)
    if settings.project_file and not settings.warnings:
        yield Finding(OK, f"the project file {settings.project_file} is used")


def _overruled(settings: Settings) -> Iterator[Finding]:
    """Tell what variables set, and where that goes against a file: few remember what is in their environment."""
    quiet = []
    for key in settings.keys():  # noqa: SIM118  # not a mapping
        value = settings.lookup(key)
        if value.origin.layer == "environment":
            quiet.append(f"{str(value.origin).removeprefix('variable ')} sets {join_key(key)}")
    if quiet:
        yield Finding(OK, "; ".join(quiet))


def _other_layers(patient: Patient) -> Iterator[Finding]:
    """Tell why the settings cannot be read when the user's file is not why."""
    from omniagent_cli.config import load_settings

    context = patient.context
    try:
        load_settings(context.environ, context.cwd, context.config_file, context.flags)
    except ConfigError as error:
        yield told(error)


def _unknown_variables(patient: Patient) -> Iterator[Finding]:
    from difflib import get_close_matches

    from omniagent_cli.cli.reference.environment import variables

    known = {name for group in variables().values() for one in group for name in one.names}
    for name in sorted(patient.context.environ):
        if name.startswith("OMNIAGENT_") and name not in known:
            close = get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else "'omniagent help environment' lists all"
            )
            yield Finding(WARNING, f"the variable {name} is none that omniagent reads", hint)


def _remembering(patient: Patient) -> Iterator[Finding]:
    place = nearest(state_dir(patient.context.environ))
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding(
            WARNING,
            f"{place} cannot be written, so nothing is remembered between runs: the session used last, prompts, trust",
            f"make {place} writable, or set XDG_STATE_HOME",
        )


def nearest(path: Path) -> Path:
    """Return the directory itself, or the nearest above it that is there."""
    while not os.path.isdir(path) and path != path.parent:  # noqa: PTH112  # pathlib's raises where nobody may look
        path = path.parent
    return path
