"""Synchronization of two stores; `state` has the merge rules, `driver` the exchange.

Each store keeps what a merge needs beside its content:

- a fact (title, metadata key, tag, TTL, id ...) that was set has the stamp of its last change in the header's data
  (`stores.facts`), and a message that was edited has ``revised_at``;
- removed messages have tombstones: records of the kind ``removal`` of their session, which exports contain, and for
  deleted sessions the records ``grave`` of the journal;
- the journal, one hidden session per store (`stores.journal`), has the store's id, the state of each session at its
  last synchronization as a digest (``synced``), and the last generation that was read of each other machine.

A synchronization takes two states per session (`loading`), joins them (`state.merge`, a pure function that is
commutative, associative and idempotent), and writes the difference to both sides (`applying`). The states contain
message ids, revisions and order, not content, so memory depends on the number of messages of the largest session.

Two sides (`peer`) talk in three steps, as Python objects or as JSON lines (`protocol`): compare the digests of 256
groups of sessions; exchange the states of the sessions that differ, with the messages that the caller lacks; send the
messages that the other side lacks. A side never trusts what it receives: states and messages are validated like an
import. Digests, not counters, decide what differs, so a store that was restored from a backup or copied needs no
special treatment. A directory that a file service carries (`carrier`) holds one side's part of that exchange per
machine.
"""
