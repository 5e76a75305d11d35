"""Translation of PostgreSQL errors into StoreError subclasses, and which of them are retried."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from omniagent_cli.errors import (
    InvalidRecord,
    OmniAgentError,
    StoreCorrupt,
    StoreFull,
    StoreLocked,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnreachable,
)
from omniagent_cli.text.sanitize import first_line


class AgainError(Exception):
    """Another writer changed the session: run the unit of work again."""


class AloneError(Exception):
    """This unit of work changes state that all others depend on: run it again under an exclusive lock."""


class LostError(Exception):
    """The connection was lost before anything was committed."""


# SQLSTATE -> error class and message, https://www.postgresql.org/docs/current/errcodes-appendix.html
_SAID: dict[str, tuple[type[OmniAgentError], str]] = {
    "53100": (StoreFull, "has a full disk; nothing was changed. Free some space and try again"),
    "53200": (StoreFull, "is out of memory; nothing was changed. Try again later"),
    "53300": (StoreUnreachable, "has no free connection; close others or raise max_connections on the server"),
    "25006": (StoreReadOnly, "is a standby or set to read only; use the address of the primary server"),
    "55P03": (StoreLocked, "is locked by another connection; try again later"),
    "57014": (StoreUnreachable, "timed out; check the server's load or raise statement_timeout"),
    "57P03": (StoreUnreachable, "is starting or shutting down; try again later"),
    "54000": (InvalidRecord, "cannot store a value that large; split the message"),
    "22021": (InvalidRecord, "cannot store these characters"),
    "22P05": (StoreUnavailable, "has a database whose encoding is not UTF8; create one: createdb --encoding=UTF8"),
}  # fmt: skip
_KINDS: dict[str, tuple[type[OmniAgentError], str]] = {
    "28": (StoreUnreachable, "rejected the user or password; check both"),
    "3D": (StoreUnreachable, "has no such database; create it with createdb, or correct the URL"),
    "08": (StoreUnreachable, "lost the connection; try again, and check the server if it happens repeatedly"),
    "57": (StoreUnreachable, "closed the connection; try again later"),
    "53": (StoreUnreachable, "is out of resources; try again later"),
    "58": (StoreUnreachable, "has a disk error; see the server's log"),
    "XX": (StoreCorrupt, "reports damaged data; see the server's log and restore a backup"),
}  # fmt: skip
_AGAIN = frozenset({"40001", "40P01"})
_TAKEN = frozenset({"sessions_id", "sessions_uid"})

# A failed connection attempt has no SQLSTATE, only the server's message.
_WORDS = (
    ("password authentication failed", "28"),
    ("no password supplied", "28"),
    ("authentication failed", "28"),
    ("no pg_hba.conf entry", "28"),
    ("is not permitted to log in", "28"),
    ("too many clients", "53300"),
    ("too many connections", "53300"),
    ("remaining connection slots", "53300"),
    ("starting up", "57P03"),
    ("shutting down", "57P03"),
)


def is_lost(error: psycopg.Error, connection: psycopg.Connection) -> bool:
    """Return True if an error ended the connection."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError) and not state:
        return not isinstance(error, psycopg.errors.PipelineAborted)  # an error of the driver
    return connection.closed or state.startswith("08") or state in ("57P01", "57P02", "57P03")


def is_passing(error: psycopg.Error) -> bool:
    """Return True if a unit of work failed only because of a concurrent one, so that it can be retried."""
    if error.sqlstate == "23505":
        return error.diag.constraint_name in _TAKEN
    return error.sqlstate in _AGAIN


def translate_error(error: psycopg.Error, place: str, *, write: bool = True) -> OmniAgentError:
    """Return the error for a driver error."""
    if isinstance(error, PoolTimeout | TooManyRequests):
        return StoreLocked(
            f"every connection of this process to {place} is in use; use fewer threads or a larger pool_size"
        )
    if isinstance(error, PoolClosed):
        return StoreUnreachable(f"the connection to {place} was closed; try again")
    words = _words(error)
    if error.sqlstate is None and isinstance(error, psycopg.DataError):
        return InvalidRecord(f"PostgreSQL cannot store this: {words}")
    state = error.sqlstate or _state_of(words)
    if state == "42501":
        kind = StoreReadOnly if write else StoreUnreachable
        return kind(f"the user of {place} lacks a privilege ({words}); grant it on the schema")
    if state == "23505":
        return StoreCorrupt(
            f"the store {place} already has messages at the next position; run: omniagent store check --repair"
        )
    found = _SAID.get(state) or _KINDS.get(state[:2])
    if found is not None:
        return found[0](f"the server of {place} {found[1]} ({words})")
    if isinstance(error, psycopg.OperationalError) and not error.sqlstate:
        return StoreUnreachable(
            f"cannot reach a server at {place} ({words}); check the address and that the server is running"
        )
    return StoreUnavailable(f"PostgreSQL failed on {place}: {words}")


def _words(error: psycopg.Error) -> str:
    """Return the message of the server or driver, on one line."""
    return first_line(error.diag.message_primary or str(error), 300) or type(error).__name__


def _state_of(words: str) -> str:
    if 'database "' in words and "does not exist" in words:
        return "3D"
    if 'role "' in words and "does not exist" in words:
        return "28"
    return next((state for text, state in _WORDS if text in words), "")
