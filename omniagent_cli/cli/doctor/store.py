"""The store: whether it opens, what it holds, who may read it, and whether there is room."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniagent_cli.cli.doctor.check_result import OK, PROBLEM, WARNING, Finding, Patient, told
from omniagent_cli.cli.doctor.configuration import nearest
from omniagent_cli.config import resolve_store
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import size_text
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.config import StoreChoice
    from omniagent_cli.stores import SessionStore, StoreLocation

_LITTLE_ROOM = 200_000_000
_NO_ROOM = 2_000_000
_LARGE_LOG = 100_000_000
_OTHERS = 0o077
# Kinds of file systems that are shared by machines; SQLite's log needs memory that all its users share.
_NETWORKS = frozenset(("9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf"))  # fmt: skip


def check(patient: Patient) -> Iterator[Finding]:
    """Look at the store that the settings choose, without changing it."""
    if patient.settings is None:
        yield Finding(
            WARNING, "not looked at: the settings say which store it is", "mend them first"
        )
        return
    choice = resolve_store(patient.settings)
    location = choice.location
    if location.is_local:
        place = Path(location.files()[0])
        yield from _room(place)
        if not os.path.lexists(place):
            yield from _not_there(choice, place)
            return
        yield from _private(place, location)
        if location.is_database_file:
            yield from _network(place)
    yield from _opened(patient, choice)


def _not_there(choice: StoreChoice, place: Path) -> Iterator[Finding]:
    above = nearest(place.parent)
    if not os.access(above, os.W_OK | os.X_OK):
        do = f"make {above} writable, or choose another place with store.url"
        yield Finding(PROBLEM, f"the store {place} cannot be made: {above} cannot be written", do)
    elif choice.origin.layer != "default" and not place.parent.is_dir():
        what = (
            f"there is no directory {place.parent} for the store {choice.shown} ({choice.origin})"
        )
        yield Finding(PROBLEM, what, "create it or name another")
    else:
        yield Finding(OK, f"the store {place} is not there yet; the first message makes it")


def _room(place: Path) -> Iterator[Finding]:
    above = nearest(place)
    try:
        free = shutil.disk_usage(above).free
    except OSError:
        return
    if free < _LITTLE_ROOM:
        state = PROBLEM if free < _NO_ROOM else WARNING
        yield Finding(state, f"the disk of {above} has {size_text(free)} left", "free some room")
    else:
        yield Finding(OK, f"the disk has {free / 1e9:,.1f} GB left")


def _private(place: Path, location: StoreLocation) -> Iterator[Finding]:
    if os.name != "posix":
        return
    for path in map(Path, location.files()):
        try:
            mode = path.stat().st_mode
        except OSError:
            continue
        if mode & _OTHERS:
            yield Finding(WARNING, f"others on this machine may read {path}", f"chmod go= {path}")
    if not os.access(place, os.W_OK) or not os.access(place.parent, os.W_OK):
        what = f"the store {place} cannot be written: it can be read, and nothing new is kept"
        yield Finding(WARNING, what, "check who owns it and its directory")


def _network(place: Path) -> Iterator[Finding]:
    kind = _file_system(place) if sys.platform.startswith("linux") else ""
    if kind in _NETWORKS:
        yield Finding(
            WARNING,
            f"the store is on a file system that machines share ({kind}), where SQLite's log works for one machine at a time",
            "keep it on a local disk, or use a postgresql: or redis: store",
        )


def _file_system(place: Path) -> str:
    """Return the kind of the file system; empty when nobody knows."""
    found, kind = "", ""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        real = os.path.realpath(place)
    except OSError:
        return ""
    for line in lines:
        _, mounted, this, *_ = line.split(" ")
        mounted = mounted.replace("\\040", " ").rstrip("/")
        if (real == mounted or real.startswith(f"{mounted}/")) and len(mounted) >= len(found):
            found, kind = mounted, this
    return kind


def _opened(patient: Patient, choice: StoreChoice) -> Iterator[Finding]:
    from omniagent_cli.stores import open_store

    try:
        with open_store(choice.location, read_only=True, compress=choice.compress) as plain:
            store, finding = _with_key(patient, plain)
            facts = store.info()
            yield from _facts(choice, facts)
            yield finding
            copies = list(store.copies())
    except OmniAgentError as error:
        yield told(error)
        return
    if copies:
        what = f"{counted(len(copies), 'copy')} of the store lie beside it, such as {copies[0]}"
        yield Finding(OK, what, "remove them when they are not needed")


def _with_key(patient: Patient, store: SessionStore) -> tuple[SessionStore, Finding]:
    """Give the store its key; nobody is asked for one."""
    from omniagent_cli.cli.framework.encryption_key_source import KEY_ADVICE, configured_key
    from omniagent_cli.stores import with_encryption

    choice = resolve_store(patient.settings) if patient.settings else None
    mark = store.encryption()
    key = (
        configured_key(choice, patient.context.keys)
        if choice and (choice.key or choice.key_file)
        else None
    )
    wanted = bool(choice and choice.encrypt)
    if mark is None:
        if wanted:
            return store, Finding(
                PROBLEM,
                "store.encrypt is set, and the store is not encrypted",
                "'omniagent store encrypt' does it",
            )
        return store, Finding(
            OK, "what is stored is not encrypted", "'omniagent store encrypt' does it"
        )
    state = mark["state"]
    if key is None:
        who = "a person is asked for it" if mark.get("passphrase") else "content cannot be read"
        return store, Finding(
            WARNING, f"the store is {state}, and its key is not here: {who}", KEY_ADVICE
        )
    if not store.opens_with(key):
        what = "the store is encrypted, and the key that is given does not open it"
        return store, Finding(PROBLEM, what, KEY_ADVICE)
    if state != "encrypted":
        return with_encryption(store, key), Finding(
            WARNING, f"the store is half way: {state}", "run the command that began it again"
        )
    return with_encryption(store, key), Finding(OK, "the store is encrypted, and the key opens it")


def _facts(choice: StoreChoice, facts: Mapping[str, Any]) -> Iterator[Finding]:
    holds = [counted(facts["sessions"], "session")]
    if "messages" in facts:
        holds.append(counted(facts["messages"], "message"))
    if isinstance(size := facts.get("bytes"), int):
        holds.append(size_text(size))
    version = f", format {facts['schema_version']}" if "schema_version" in facts else ""
    yield Finding(
        OK, f"the store {choice.shown} opens ({facts['backend']}{version}): {', '.join(holds)}"
    )
    if facts["trash"]:
        what = f"the trash holds {counted(facts['trash'], 'entry')}"
        yield Finding(OK, what, "'omniagent sessions trash --empty' removes them for good")
    if facts["expired"]:
        what = f"{counted(facts['expired'], 'session')} expired and still {'takes' if facts['expired'] == 1 else 'take'} room"
        yield Finding(WARNING, what, "'omniagent sessions prune' removes what has expired")
    for warning in facts.get("warnings", ()):
        yield Finding(WARNING, f"the server may lose data: {warning}", "ask who runs it")
    if facts.get("wal_bytes", 0) > _LARGE_LOG:
        what = f"SQLite's log has grown to {size_text(facts['wal_bytes'])}"
        yield Finding(WARNING, what, "'omniagent store compact' gives the room back")
