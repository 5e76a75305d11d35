"""A directory as the meeting place of machines that are never connected, carried by a file service, git or a USB stick.

Each machine writes files of its own, ``NAME-GENERATION.jsonl`` with the id of its store as NAME, and reads those of the
others. The first line has the protocol version (``omniagent-carrier``), ``store``, ``generation``, ``full``, a random
``token``, and ``kdf``, the salt and cost of a passphrase, if the store is encrypted with one. Then come the sessions that
changed since the previous generation, each as ``entry`` and ``state``, its content, and ``end``; and a last line ``last``.
In an encrypted store, each line after the first is the base64 of an envelope that is bound to the file and the line.

A file is written under another name and renamed, so an incomplete one has no last line; it is read again the next time.
After `MAX_GENERATIONS` files, one is written in full and the earlier ones are removed.

The journal has, per directory, a record of the kind ``carrier`` (the token of the last file that was written, and the
generation that was read of each machine), and one of the kind ``carried`` per session: its digest in the last file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from omniagent_cli.errors import InvalidRecord, SyncError
from omniagent_cli.json_format import dump
from omniagent_cli.models import new_uid
from omniagent_cli.stores.encryption.manifest import read_manifest
from omniagent_cli.stores.journal import CARRIED, CARRIER, JOURNAL, journal_header, open_journal
from omniagent_cli.stores.store_base import StoreBase
from omniagent_cli.stores.sync.driver import (
    Progress,
    SessionChange,
    SyncReport,
    conflict_copy_notes,
    session_change,
)
from omniagent_cli.stores.sync.index import Entry, own_store_id
from omniagent_cli.stores.sync.loading import Item, Record
from omniagent_cli.stores.sync.pairing import Cluster
from omniagent_cli.stores.sync.peer import LocalPeer, SyncedSession
from omniagent_cli.stores.sync.sealed_lines import Opener, Sealer
from omniagent_cli.stores.sync.state import EMPTY, SessionState, session_id_of
from omniagent_cli.stores.sync.wire import (
    PROTOCOL,
    LineReader,
    decode_entry,
    decode_state,
    encode_entry,
    encode_item,
    encode_state,
)
from omniagent_cli.stores.unit_of_work import UnitOfWork

MAX_GENERATIONS = 16
"""Number of files of one machine after which the next one is complete and replaces them."""

_FIRST = "omniagent-carrier"
_NAME = re.compile(r"([0-9a-z]{1,64})-(\d{8})\.jsonl")
_BATCH = 64
_ATTEMPTS = 3

_Given = tuple[SyncedSession, SessionState, Iterator[Item]]


def sync_directory(
    store: StoreBase,
    directory: Path,
    *,
    dry_run: bool = False,
    pull: bool = True,
    push: bool = True,
    progress: Progress | None = None,
) -> SyncReport:
    """Read what other machines left in a directory, and leave there what changed in this store.

    Args:
        store: the store.
        directory: the directory, which exists.
        dry_run: change nothing.
        pull: read the files of others.
        push: write a file.
        progress: called with the report as it grows.

    Raises:
        SyncError: the directory cannot be read or written.
        EncryptedStore: a file is encrypted and this store has no key, or the other way round.
        DecryptionError: a file is encrypted with another key, or was changed.
    """
    carrier = _Carrier(store, directory, dry_run=dry_run)
    carrier.progress = progress
    try:
        if not dry_run:
            carrier.report.notes += conflict_copy_notes(store)
        if pull:
            carrier.pull()
        if push:
            carrier.push()
        if not dry_run:
            carrier.remember()
    except OSError as error:
        raise SyncError(f"cannot use {directory}: {error.strerror or error}") from error
    return carrier.finished()


class _Carrier:
    def __init__(self, store: StoreBase, directory: Path, *, dry_run: bool) -> None:
        self._store = store
        self._directory = directory
        self._dry_run = dry_run
        self._peer = LocalPeer(store, trusts=False)
        self._peer.refresh()
        self.report = SyncReport()
        self.progress: Progress | None = None
        self._changes: dict[str, SessionChange] = {}
        self._refused: list[tuple[str, str]] = []
        self._ended = False
        self._id = self._peer.store_id if dry_run else own_store_id(store)
        self._key, self._memory = self._recognize()
        self._carried: dict[str, str] = {}

    def _files(self) -> dict[str, dict[int, Path]]:
        """Return the files by store id and generation."""
        found: dict[str, dict[int, Path]] = {}
        for path in self._directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                found.setdefault(match[1], {})[int(match[2])] = path
        return found

    def _recognize(self) -> tuple[str, Record]:
        """Return what the journal knows about this directory; a new id if another store wrote under this one's."""
        own = self._files().get(self._id, {})
        if own:
            with own[max(own)].open("rb") as file:
                token = (LineReader(file, own[max(own)].name).read() or {}).get("token")
            for key, memory in self._records(CARRIER).items():
                if memory.get("token") == token:
                    return key, memory
            if not self._dry_run:
                self._id = own_store_id(self._store, renew=True)
            self.report.notes.append(
                "the directory has files of another copy of this store, or later ones than it remembers, so it was"
                " given a new id"
            )
        return new_uid(), {"read": {}}

    def _records(self, kind: str) -> dict[str, Any]:
        def work(unit: UnitOfWork) -> dict[str, Any]:
            header = journal_header(unit)
            if header is None:
                return {}
            records = unit.tx.records(JOURNAL, kind)
            return {key: unit.open_record(header, kind, key, data) for key, data in records}

        return self._store.read_unit(work)

    # Pull.

    def pull(self) -> None:
        """Merge the files of other machines that were not read yet, oldest first."""
        read: dict[str, int] = self._memory["read"]
        files = {name: paths for name, paths in self._files().items() if name != self._id}
        self.report.total = sum(map(len, files.values()))
        for name in sorted(files):
            for generation in _unread(files[name], read.get(name, 0)):
                if not self._merge(files[name][generation], name, generation):
                    break
                read[name] = generation
            self.report.seen += len(files[name])
            if self.progress is not None:
                self.progress(self.report)

    def _merge(self, path: Path, name: str, generation: int) -> bool:
        """Merge one file and return True if all of it is merged."""
        for _ in range(_ATTEMPTS):
            self._refused = []
            if not self._read(path, name, generation):
                self.report.notes.append(
                    f"{path.name} is incomplete; it is read again the next time"
                )
                return False
            if not self._refused:
                return True
        self.report.refused += self._refused
        return False

    def _read(self, path: Path, name: str, generation: int) -> bool:
        """Merge one file as far as possible and return True if it was complete."""
        with path.open("rb") as file:
            first = LineReader(file, path.name).require(_FIRST)
            if first != PROTOCOL:
                raise SyncError(f"{path.name} was written by another version; update omniagent")
            file.seek(0)
            lines = LineReader(file, path.name)
            facts = lines.read() or {}
            lines.decode = Opener(self._store, path.name, (name, str(generation)), facts).open
            complete: list[bool] = []
            sessions = self._sessions(lines, complete)
            self._peer.refresh()
            self._ended = False
            while not complete and not self._ended:
                names: list[str] = []
                outcomes = self._peer.receive(_named(islice(sessions, _BATCH), names))
                self._ended = not names
                self._refused += [
                    (one, reason) for one, reason in zip(names, outcomes, strict=True) if reason
                ]
            return bool(complete)

    def _sessions(self, lines: LineReader, complete: list[bool]) -> Iterator[_Given]:
        while (found := lines.read()) is not None:
            if "last" in found:
                complete.append(True)
                return
            try:
                entry, state = decode_entry(found["entry"]), decode_state(found["state"])
            except (KeyError, InvalidRecord) as error:
                raise SyncError(f"invalid data in the directory: {error}") from error
            cluster = self._cluster(entry)
            (session,) = self._peer.load([[one.uids[0] for one in cluster.mine]])
            change = session_change(cluster, session.state, state)
            if session.state != state:
                self._changes[change.session_id] = change
            items = lines.items()
            if self._dry_run:
                for _ in items:
                    pass
            else:
                yield session, state, items

    def _cluster(self, entry: Entry) -> Cluster:
        """Return a session of a file with those of this store that it is merged with."""
        index = self._peer.index
        mine = index.find(entry.session_id, entry.uids)
        named = self._peer.named(mine)
        name = Cluster(named, [entry]).session_id
        more = [own for own in index.find(name, ()) if own not in mine]
        return Cluster([*named, *self._peer.named(more)], [entry])

    # Push.

    def push(self) -> None:
        """Write the sessions that changed since the last file of this machine."""
        self._peer.refresh()
        own = self._files().get(self._id, {})
        full = not own or len(own) >= MAX_GENERATIONS or "token" not in self._memory
        known = {} if full else self._records(CARRIED)
        changed = [
            entry
            for entry in self._peer.index.entries
            if not entry.digest or known.get(f"{self._key}-{entry.uids[0]}") != entry.digest
        ]
        if not changed and not full:
            return
        if self._dry_run:
            for entry in changed:
                self._note_sent(entry, EMPTY)
            return
        generation = max(own, default=0) + 1
        token = new_uid()
        path = self._directory / f"{self._id}-{generation:08}.jsonl"
        temporary = path.with_name(f".{path.stem}.tmp")
        with temporary.open("wb") as file:
            written = self._write(file, changed, generation, {"full": full, "token": token}, known)
            file.flush()
            os.fsync(file.fileno())
        if not written and not full:
            temporary.unlink()
            return
        temporary.replace(path)
        self._memory["token"] = token
        if full:
            for old in own.values():
                with suppress(FileNotFoundError):
                    old.unlink()

    def _write(
        self,
        file: BinaryIO,
        entries: list[Entry],
        generation: int,
        facts: Mapping[str, Any],
        known: Mapping[str, str],
    ) -> int:
        manifest = read_manifest(self._store.transact(lambda tx: tx.encryption(), write=False))
        first = {_FIRST: PROTOCOL, "store": self._id, "generation": generation, **facts}
        if manifest is not None and manifest.get("kdf"):
            first["kdf"] = manifest["kdf"]
        file.write(dump(first) + b"\n")
        writer = Sealer(self._store, file, (self._id, str(generation)))
        written = 0
        for start in range(0, len(entries), _BATCH):
            chosen = self._peer.named(entries[start : start + _BATCH])
            sessions = self._peer.load([[entry.uids[0]] for entry in chosen])
            outcomes = self._peer.receive((session, EMPTY, iter(())) for session in sessions)
            for entry, session, outcome in zip(chosen, sessions, outcomes, strict=True):
                if outcome:  # "changed": it is being written to, so the next file has it
                    if outcome != "changed":
                        self.report.refused.append((entry.session_id, outcome))
                    continue
                key, digest = f"{self._key}-{entry.uids[0]}", session.digest
                if known.get(key) == digest:
                    continue
                self._carried[key] = digest
                self._note_sent(entry, session.state)
                writer.write({"entry": encode_entry(entry), "state": encode_state(session.state)})
                for item in session.items(EMPTY):
                    writer.write(encode_item(item))
                writer.write({"end": True})
                written += 1
        writer.write({"last": True})
        return written

    def _note_sent(self, entry: Entry, state: SessionState) -> None:
        if entry.session_id not in self._changes:
            change = session_change(Cluster([entry], []), state, EMPTY)
            self._changes[entry.session_id] = replace(change, status="sent")

    def finished(self) -> SyncReport:
        """Return the report."""
        self.report.changes = [self._changes[name] for name in sorted(self._changes)]
        return self.report

    def remember(self) -> None:
        """Record in the journal what was read and written."""

        def work(unit: UnitOfWork) -> None:
            open_journal(unit)
            unit.put_record(JOURNAL, CARRIER, self._key, self._memory)
            for key, digest in self._carried.items():
                unit.put_record(JOURNAL, CARRIED, key, digest)

        self._store.write_unit(work)


def _named(given: Iterable[_Given], names: list[str]) -> Iterator[_Given]:
    """Yield sessions and note their ids."""
    for session, state, items in given:
        names.append(session_id_of(state))
        yield session, state, items


def _unread(files: Mapping[int, Path], read: int) -> list[int]:
    """Return the generations to read, in order: those after the last one read, or all if some in between are gone."""
    new = sorted(number for number in files if number > read)
    if new and new[0] != read + 1:
        return sorted(files)
    return new
