"""Check of the store: opens, contents, permissions, free space, encryption."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omniagent_cli.cli.doctor.check_result import (
    INFO,
    OK,
    PROBLEM,
    WARNING,
    CheckContext,
    Finding,
    format_finding,
)
from omniagent_cli.cli.doctor.configuration import nearest
from omniagent_cli.config.resolution import resolve_store
from omniagent_cli.errors import OmniAgentError
from omniagent_cli.models import size_text
from omniagent_cli.ui.views import counted

if TYPE_CHECKING:
    from omniagent_cli.config.resolution import StoreChoice
    from omniagent_cli.stores import SessionStore, StoreLocation

_LITTLE_ROOM = 200_000_000
_NO_ROOM = 2_000_000
_LARGE_LOG = 100_000_000
_OTHERS = 0o077
# Network file systems; SQLite's write-ahead log needs memory shared by all its users.
_NETWORKS = frozenset(("9p", "afs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "nfs", "nfs4", "smb3", "smbfs", "vboxsf"))  # fmt: skip


def check(context: CheckContext) -> Iterator[Finding]:
    """Check the configured store without changing it."""
    if context.settings is None:
        yield Finding(WARNING, "not checked: the settings are invalid", "fix the settings first")
        return
    choice = resolve_store(context.settings)
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
    yield from _opened(context, choice)


def _not_there(choice: StoreChoice, place: Path) -> Iterator[Finding]:
    above = nearest(place.parent)
    if not os.access(above, os.W_OK | os.X_OK):
        do = f"make {above} writable, or choose another place with store.url"
        yield Finding(
            PROBLEM, f"the store {place} cannot be created: {above} cannot be written", do
        )
    elif choice.origin.layer != "default" and not place.parent.is_dir():
        what = f"no directory {place.parent} for the store {choice.shown} ({choice.origin})"
        yield Finding(PROBLEM, what, "create it or choose another")
    else:
        yield Finding(INFO, f"the store {place} does not exist yet; the first message creates it")


def _room(place: Path) -> Iterator[Finding]:
    above = nearest(place)
    try:
        free = shutil.disk_usage(above).free
    except OSError:
        return
    if free < _LITTLE_ROOM:
        state = PROBLEM if free < _NO_ROOM else WARNING
        yield Finding(state, f"the disk of {above} has {size_text(free)} left", "free some space")
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
            yield Finding(
                WARNING, f"other users of this machine can read {path}", f"chmod go= {path}"
            )
    if not os.access(place, os.W_OK) or not os.access(place.parent, os.W_OK):
        what = f"the store {place} is read-only: new messages cannot be saved"
        yield Finding(WARNING, what, "check the owner and mode of the file and its directory")


def _network(place: Path) -> Iterator[Finding]:
    kind = _file_system(place) if sys.platform.startswith("linux") else ""
    if kind in _NETWORKS:
        yield Finding(
            WARNING,
            f"the store is on a network file system ({kind}), where SQLite works for one machine at a time",
            "keep it on a local disk, or use a postgresql: or redis: store",
        )


def _file_system(place: Path) -> str:
    """Return the type of the file system; empty if unknown."""
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


def _opened(context: CheckContext, choice: StoreChoice) -> Iterator[Finding]:
    from omniagent_cli.stores import open_store

    try:
        with open_store(choice.location, read_only=True, compress=choice.compress) as plain:
            store, finding = _with_key(context, plain)
            facts = store.info()
            yield from _facts(choice, facts)
            yield finding
            copies = list(store.known_backups())
    except OmniAgentError as error:
        yield format_finding(error)
        return
    if copies:
        what = f"{counted(len(copies), 'copy')} of the store in the same directory, such as {copies[0]}"
        yield Finding(OK, what, "delete them if they are not needed")


def _with_key(context: CheckContext, store: SessionStore) -> tuple[SessionStore, Finding]:
    """Open the store with its key, without asking for one."""
    from omniagent_cli.cli.framework.encryption_key_source import KEY_ADVICE, configured_key
    from omniagent_cli.stores import with_encryption

    choice = resolve_store(context.settings) if context.settings else None
    mark = store.encryption()
    key = (
        configured_key(choice, context.context.keys)
        if choice and (choice.key or choice.key_file)
        else None
    )
    if mark is None:
        wanted = choice is not None and choice.encrypt
        if wanted or (wanted is None and key is not None):
            what = "store.encrypt is set" if wanted else "a key is set"
            what += ", but the store is not encrypted: it can be read, not written"
            return store, Finding(PROBLEM, what, "run 'omniagent store encrypt'")
        return store, Finding(INFO, "no stored data is encrypted", "run 'omniagent store encrypt'")
    state = mark["state"]
    if key is None:
        who = (
            "commands on a terminal prompt for it"
            if mark.get("passphrase")
            else "content cannot be read"
        )
        return store, Finding(
            WARNING, f"the store is {state}, and its key is not available: {who}", KEY_ADVICE
        )
    if not store.key_matches(key):
        what = "the store is encrypted, and the key is wrong"
        return store, Finding(PROBLEM, what, KEY_ADVICE)
    if state != "encrypted":
        return with_encryption(store, key), Finding(
            WARNING,
            f"a change of encryption was interrupted: {state}",
            "run the same command again",
        )
    return with_encryption(store, key), Finding(
        OK, "the store is encrypted, and the key is correct"
    )


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
        yield Finding(OK, what, "'omniagent sessions trash --empty' deletes them permanently")
    if facts["expired"]:
        what = f"{counted(facts['expired'], 'expired session')} not removed yet"
        yield Finding(WARNING, what, "'omniagent sessions prune' removes expired sessions")
    if facts.get("not_writable"):
        reason, _, do = str(facts["not_writable"]).partition("; ")
        yield Finding(PROBLEM, f"new messages cannot be saved: {reason}", do)
    for warning in facts.get("warnings", ()):
        yield Finding(WARNING, f"the server may lose data: {warning}", "ask its administrator")
    if facts.get("wal_bytes", 0) > _LARGE_LOG:
        what = f"the write-ahead log has grown to {size_text(facts['wal_bytes'])}"
        yield Finding(WARNING, what, "'omniagent store compact' frees the space")
