"""The pending changes of one session in a unit of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from omniagent_cli.stores.backend import HIDDEN, HeaderRow, MessageRow, RowRange
from omniagent_cli.stores.backends.jsonl.batch import Batch, changed_facts
from omniagent_cli.stores.backends.jsonl.log import Log
from omniagent_cli.stores.backends.jsonl.ranges import holds

DEAD_BYTES = 1 << 18
"""Size of removed and replaced lines beyond which, if they are more than half of the log, it is rewritten."""


@dataclass(slots=True)
class Change:
    """The collected writes to one session.

    Attributes:
        rows: messages to add.
        replaced: messages that replace those at the same positions.
        cuts: ranges to remove.
        recode: function applied to every message of the log.
        arrivals: logs of other sessions and the ranges moved from them.
        records: attachments and summaries by kind and key; None removes one.
        growing: the answers that are still growing, which are written beside the log.
    """

    header: HeaderRow | None = None
    rows: list[MessageRow] = field(default_factory=list)
    replaced: list[MessageRow] = field(default_factory=list)
    cuts: list[RowRange] = field(default_factory=list)
    arrivals: list[tuple[Log, RowRange]] = field(default_factory=list)
    records: dict[tuple[str, str], bytes | None] = field(default_factory=dict)
    removed: bool = False
    recode: Callable[[MessageRow], MessageRow] | None = None
    growing: list[MessageRow] = field(default_factory=list)

    def put(self, header: HeaderRow) -> None:
        """Set the header; a payload of None keeps the previous one, or the stored one."""
        payload = header.payload
        if payload is None and self.header is not None:
            payload = self.header.payload
        self.header = replace(header, payload=payload)

    def settle(self, log: Log | None, abandoned: set[int], *, durable: bool) -> None:
        """Sort out which messages grow beside the log, and which of those that do become lines of it."""
        for source, span in self.arrivals:
            self.rows += source.rows(span)
        self.arrivals = []
        partials = log.partials if log is not None else {}
        header = self.header or (log.state.header if log else None)
        if not durable and header is not None and not header.hidden:
            growing = [row for row in self.replaced if row.position in partials]
            growing += [row for row in self.rows if row.status == "interrupted"]
            self.growing = growing
        ended = [row for row in self.replaced if row.position in partials]
        self.rows += [row for row in ended if row not in self.growing]
        self.rows = [row for row in self.rows if row not in self.growing]
        self.replaced = [row for row in self.replaced if row not in ended]
        known = {row.position for row in ended}
        for position, line in partials.items():
            cut = any(span.holds(position) for span in self.cuts)
            leaves = cut or position in abandoned or self.recode is not None
            if position not in known and leaves:
                self.rows.append(line.row(position))

    def only_grows(self, log: Log) -> bool:
        """Return True if nothing is written to the log itself."""
        others = self.rows or self.replaced or self.cuts or self.records or self.recode
        if not self.growing or others:
            return False
        return self.header is None or not any(changed_facts(log.state, self.header))

    def needs_rewrite(self, log: Log) -> bool:
        """Return True if appended lines are not enough."""
        state = log.state
        if self.recode is not None or log.old:
            return True
        if state.dead > max(DEAD_BYTES, state.end // 2) and not state.bad:
            return True
        if self.header is not None and not self.header.hidden and log.name[:1] == HIDDEN:
            return True  # line 1 has no id that a reader could use
        inside = [
            row
            for row in self.rows
            if row.position <= state.top and not holds(state.free, row.position)
        ]
        ids = log.ids([row.position for row in inside]) if inside else {}
        return any(
            not holds(state.gone, row.position) or ids.get(row.position) != row.id for row in inside
        )


def batch_of(log: Log, change: Change, header: HeaderRow) -> Batch:
    """Return the lines that a change adds to a log."""
    state = log.state
    batch = Batch(state, header)
    batch.records(change.records)
    inside = [row for row in change.rows if holds(state.gone, row.position)]
    batch.remove(((row.position, row.id) for row in inside), "restored")
    added = sorted(row for row in change.rows if row not in inside)
    batch.add(added)
    cut = [
        row for span in change.cuts for row in log.rows(span) if row.position not in log.partials
    ]
    cut += [row for row in added if any(span.holds(row.position) for span in change.cuts)]
    batch.remove((row.position, row.id) for row in cut)
    for row in change.replaced:
        found = log.line_of(row.position)
        batch.edit(row, found.stamp if found else row.created_at)
    return batch
