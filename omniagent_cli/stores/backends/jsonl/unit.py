"""One unit of work on a JSON-file store: it reads the files, collects the writes, and applies them at the end."""

from __future__ import annotations

import contextlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from omniagent_cli.durations import Clock
from omniagent_cli.errors import CorruptSession
from omniagent_cli.json_format import format_time
from omniagent_cli.stores.backend import (
    EVERYTHING,
    HIDDEN,
    HeaderRow,
    ListQuery,
    MessageRow,
    RowRange,
    Transaction,
)
from omniagent_cli.stores.backends.jsonl.batch import Batch, new_log
from omniagent_cli.stores.backends.jsonl.index import Index
from omniagent_cli.stores.backends.jsonl.journal import Step, in_order, perform, uid_at
from omniagent_cli.stores.backends.jsonl.lines import BadLine, check_uid
from omniagent_cli.stores.backends.jsonl.log import Log, NotALog
from omniagent_cli.stores.backends.jsonl.manifest import Manifest
from omniagent_cli.stores.backends.jsonl.names import Layout
from omniagent_cli.stores.backends.jsonl.partials import (
    GrowingAnswers,
    abandoned,
    ended_answers,
    growing_answers,
    remove_outdated,
    write_growing,
)
from omniagent_cli.stores.backends.jsonl.pending_changes import Change, batch_of
from omniagent_cli.stores.backends.jsonl.rewriting import (
    LogWriter,
    finish_draft,
    move_torn_bytes,
    write_compacted,
)
from omniagent_cli.stores.backends.jsonl.state import Irregular, State, extend, parsed_lines

_OPEN_LOGS = 32
"""Maximum number of logs a reading unit keeps open; a search reads all of them."""
_SPILL_ROWS = 2000
"""Number of messages of a new session that are collected before they are written to disk."""


class JsonlUnit(Transaction):
    """A transaction whose writes are applied by `commit`."""

    def __init__(
        self,
        layout: Layout,
        index: Index,
        marker: Manifest,
        clock: Clock,
        *,
        settle: Callable[[], None] | None,
        locking: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._layout, self._index, self._marker, self._clock = layout, index, marker, clock
        self._settle, self._locking = settle, locking
        self._logs: OrderedDict[str, Log] = OrderedDict()
        self._changes: dict[str, Change] = {}
        self._drafts: list[LogWriter] = []
        self._spilled: dict[str, tuple[LogWriter, Batch]] = {}
        self._meta: dict[str, bytes] = {}
        self._headers: list[HeaderRow] | None = None
        self._last_query: ListQuery | None = None
        self._answer: list[HeaderRow] = []
        self._places: dict[str, int] = {}
        self._states: dict[str, State] = {}
        self._answers: GrowingAnswers | None = None
        self.purged: set[str] = set()

    def now(self) -> datetime:
        return self._clock()

    def find(self, session_id: str, *, payload: bool = True) -> HeaderRow | None:
        if session_id.startswith(HIDDEN):
            header = self.find_uid(session_id[1:], payload=payload)
            return header if header is not None and header.id == session_id else None
        path = self._layout.visible_path(session_id)
        log = self._open(path)
        if log is not None and log.name != session_id and self._settle is not None:
            # A rename may be in progress: look again when it is complete.
            self._logs.pop(log.uid).close()
            self._settle()
            log = self._open(path)
        if log is None:
            return None
        if log.name != session_id:
            raise CorruptSession(
                f"{path} contains the session {log.name!r} instead of {session_id!r};"
                " rename the file or move it away",
                session_id=session_id,
            )
        return log.header(payload=payload)

    def find_uid(self, uid: str, *, payload: bool = True) -> HeaderRow | None:
        log = self._log(uid, search=True)
        return None if log is None else log.header(payload=payload)

    def headers(self, query: ListQuery) -> list[HeaderRow]:
        page = [replace(header) for header in self._page(query)]
        for header in page:
            if header.payload is None:
                log = self._log(header.uid)
                header.payload = None if log is None else log.state.payload()
        return page

    def _page(self, query: ListQuery) -> list[HeaderRow]:
        """Sort the headers once for all pages of a unit of work."""
        whole = replace(query, after=None, limit=sys.maxsize)
        if whole != self._last_query:
            self._last_query, self._answer = whole, whole.select(self._all())
            self._places = {header.id: place for place, header in enumerate(self._answer)}
        if query.after is None:
            return self._answer[: query.limit]
        place = self._places.get(query.after.id)
        if place is None or query.cursor(self._answer[place]) != query.after:
            return query.select(self._answer)
        return self._answer[place + 1 : place + 1 + query.limit]

    def count(self, query: ListQuery) -> int:
        return sum(map(query.accepts, self._all()))

    def _all(self) -> list[HeaderRow]:
        if self._headers is None:
            growing = growing_answers(self._layout)
            headers = self._index.headers(self._locking)
            self._headers = headers if not growing else [self._grown(h, growing) for h in headers]
        return self._headers

    def _grown(self, header: HeaderRow, growing: Mapping[str, object]) -> HeaderRow:
        log = self._log(header.uid) if header.uid in growing else None
        return header if log is None else log.header()

    def rows(self, uid: str, span: RowRange = EVERYTHING) -> Iterable[MessageRow]:
        log = self._log(uid)
        return iter(()) if log is None else log.rows(span)

    def records(self, uid: str, kind: str) -> Iterable[tuple[str, bytes]]:
        log = self._log(uid)
        return [] if log is None else ((key, data) for _, key, data in log.records(kind))

    def record(self, uid: str, kind: str, key: str) -> bytes | None:
        log = self._log(uid)
        return None if log is None else log.record(kind, key)

    def meta(self, key: str) -> bytes | None:
        return self._marker.meta().get(key)

    def put(self, header: HeaderRow) -> None:
        self._change(header.uid).put(header)

    def remove(self, uid: str) -> None:
        self._change(uid).removed = True
        self.purged.add(uid)

    def insert(self, uid: str, rows: Sequence[MessageRow], texts: Sequence[str | None]) -> None:
        change = self._change(uid)
        change.rows += rows
        if len(change.rows) > _SPILL_ROWS and change.header is not None and self._log(uid) is None:
            if uid not in self._spilled:
                line = new_log(change.header, empty=False)
                batch = Batch(State.begin(line), change.header, bulk=True)
                self._spilled[uid] = self._draft(uid, line), batch
            draft, batch = self._spilled[uid]
            batch.add(change.rows)
            draft.put(batch.drain())
            change.rows = []

    def _draft(self, uid: str, data: bytes = b"") -> LogWriter:
        draft = LogWriter(self._layout, uid)
        self._drafts.append(draft)
        draft.put(data)
        return draft

    def replace(self, uid: str, row: MessageRow, text: str | None) -> None:
        self._change(uid).replaced.append(row)

    def recode(
        self, uid: str, change: Callable[[MessageRow], MessageRow], first: int
    ) -> int | None:
        log = self._log(uid)
        if log is not None and any(change(row) is not row for row in log.rows()):
            self._change(uid).recode = change
        return None

    def delete_rows(self, uid: str, span: RowRange) -> None:
        self._change(uid).cuts.append(span)
        self.purged.add(uid)

    def move_rows(self, uid: str, target_uid: str, span: RowRange) -> None:
        log = self._log(uid)
        if log is not None:
            self._change(uid).cuts.append(span)
            self._change(target_uid).arrivals.append((log, span))

    def put_record(self, uid: str, kind: str, key: str, payload: bytes) -> None:
        self._change(uid).records[kind, key] = payload

    def remove_record(self, uid: str, kind: str, key: str) -> None:
        self._change(uid).records[kind, key] = None
        self.purged.add(uid)

    def put_meta(self, key: str, value: bytes) -> None:
        self._meta[key] = value

    def _change(self, uid: str) -> Change:
        return self._changes.setdefault(uid, Change())

    def _log(self, uid: str, *, search: bool = False) -> Log | None:
        """Return the log of a session: known, hidden, at its last path, or found through the index.

        Only a uid given by the caller is searched; any other is known or new.
        """
        log = self._logs.get(uid)
        if log is not None:
            return log
        try:
            check_uid(uid)
        except BadLine:
            return None
        known = self._index.path(uid)
        for path in (*((known,) if known else ()), self._layout.hidden_path(uid)):
            if log := self._open_as(path, uid):
                return log
        if search and self._headers is None:
            self._all()
            return self._open_as(self._index.path(uid), uid)
        return None

    def _open_as(self, path: Path | None, uid: str) -> Log | None:
        if path is None:
            return None
        try:
            log = self._read(path)
        except NotALog:
            return None
        if log is None or log.uid != uid:
            if log is not None:
                log.close()
            return None
        return self._keep(log)

    def _open(self, path: Path) -> Log | None:
        try:
            log = self._read(path)
        except NotALog as error:
            raise CorruptSession(
                f"{error}; it was not changed. Move it away, or run: omniagent store check"
            ) from error
        return None if log is None else self._keep(log)

    def _growing(self) -> GrowingAnswers:
        if self._settle is not None:
            return growing_answers(self._layout)
        if self._answers is None:  # no other process can change them
            self._answers = growing_answers(self._layout)
        return self._answers

    def _read(self, path: Path) -> Log | None:
        # In this order: an answer that ends between the two is in the log.
        growing = self._growing()
        log = Log.open(path, self._index.states.of)
        if log is not None:
            log.attach(growing.get(log.uid, {}))
        return log

    def _keep(self, log: Log) -> Log:
        known = self._logs.get(log.uid)
        if known is not None:
            log.close()
            return known
        self._logs[log.uid] = log
        self._index.moved(log.uid, log.path)
        if self._settle is not None and len(self._logs) > _OPEN_LOGS:
            self._logs.popitem(last=False)[1].close()
        return log

    def commit(self, *, durable: bool) -> None:
        """Apply the collected writes, all or none."""
        if self._meta:
            self._marker.put(self._meta)
        steps: list[Step] = []
        for uid, change in self._changes.items():
            steps += self._steps(uid, change, durable=durable)
        ended = ended_answers(self._layout, self._growing(), self._changes)
        for uid, change in self._changes.items():
            write_growing(self._layout, uid, change)
        self._close_logs()
        perform(self._layout, in_order(steps), durable=durable)
        for path in ended:
            path.unlink(missing_ok=True)
        self._remember(steps)

    def _remember(self, steps: list[Step]) -> None:
        for step in steps:
            path = self._layout.root / step.path
            if step.action == "append" and step.uid in self._states:
                with contextlib.suppress(FileNotFoundError):  # it was moved, too
                    self._index.states.appended(path, self._states[step.uid], step.data)
            elif step.action != "append":
                self._index.states.forget(path)
            if step.action == "move":
                target = self._layout.root / step.to
                self._index.states.forget(target)
                self._index.moved(step.uid, target)
        removed = {uid for uid, change in self._changes.items() if change.removed}
        if removed:
            self._index.forget(removed)
            for uid in removed:
                self._layout.torn_path(uid).unlink(missing_ok=True)

    def _steps(self, uid: str, change: Change, *, durable: bool) -> list[Step]:
        if change.removed:
            path = self._where(uid)
            return [Step("remove", self._layout.relative(path), uid)] if path else []
        log = self._log(uid)
        change.settle(log, abandoned(self._layout, log) if durable else set(), durable=durable)
        if log is not None:
            if change.only_grows(log):
                return []
            move_torn_bytes(self._layout, log)
            remove_outdated(self._layout, self._growing(), log)
            if not change.needs_rewrite(log):
                return self._append(log, change)
        header = change.header or (log.header() if log else None)
        if header is None:
            return []
        draft, _ = self._spilled.get(uid) or (self._draft(uid), None)
        now = format_time(self._clock())
        state = None
        if log is not None:
            state = write_compacted(draft, log, change, header, now)
        elif uid not in self._spilled:
            draft.put(new_log(header, empty=not (change.rows or change.records)))
        revision = None if log is None else log.state.header.revision
        finish_draft(draft, change, header, state, durable=durable, revision=revision)
        target = self._layout.path_of(header)
        relative = self._layout.relative
        steps = [Step("move", relative(draft.path), uid, to=relative(target))]
        if log is not None and log.path != target:
            steps.append(Step("remove", relative(log.path), uid))
        return steps

    def _append(self, log: Log, change: Change) -> list[Step]:
        header = change.header or log.header()
        base = log.state.header.revision
        touched = change.header is not None and header.revision > base
        revision = None if log.partials else base + touched
        batch = batch_of(log, change, header)
        data = batch.drain() if header.hidden else b""  # what is staged is never read half
        data += batch.render(revision=revision)
        if log.state.unended:
            data = b"\n" + data
        state = log.state.copy()
        if data:
            written = [*parsed_lines(state.end + state.unended, data[state.unended :])]
            with contextlib.suppress(Irregular):
                end = written[-1].offset + written[-1].size
                self._states[log.uid] = extend(state, [written], end)
                state.preview = header.preview
        step = Step("append", self._layout.relative(log.path), log.uid, at=log.state.end, data=data)
        target = log.path if change.header is None else self._layout.path_of(change.header)
        steps = [step] if data else []
        move = Step("move", step.path, log.uid, to=self._layout.relative(target))
        return steps if target == log.path else [*steps, move]

    def _where(self, uid: str) -> Path | None:
        known = self._index.path(uid)
        if known is not None and uid_at(known) == uid:
            return known
        log = self._log(uid)
        return None if log is None else log.path

    def close(self) -> None:
        """Close the files and remove drafts, unless a journal needs them."""
        self._close_logs()
        if self._drafts and not self._layout.journal.exists():
            for draft in self._drafts:
                draft.discard()

    def _close_logs(self) -> None:
        for log in self._logs.values():
            log.close()
        self._logs.clear()
