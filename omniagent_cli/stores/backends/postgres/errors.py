"""Translation of PostgreSQL errors into StoreError subclasses, and which of them are retried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

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
from omniagent_cli.stores.backends.postgres.connection import (
    SilentConnectionError,
    SilentServerError,
)
from omniagent_cli.stores.backends.postgres.pool import PoolExhaustedError
from omniagent_cli.text.sanitize import first_line

if TYPE_CHECKING:
    from omniagent_cli.stores.backends.postgres.location import StoreAddress


class AgainError(Exception):
    """Another writer changed the session: run the unit of work again."""


class AloneError(Exception):
    """This unit of work changes state that all others depend on: run it again under an exclusive lock."""


class LostError(Exception):
    """The connection was lost before anything was committed."""


class OutdatedError(Exception):
    """The tables do not exist or have an older version: create or migrate them, and run the unit of work again."""


class UnpreparedError(Exception):
    """A pooler changed sessions between transactions: run the unit of work again without prepared statements."""


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
MISSING_PRIVILEGE = "42501"
"""SQLSTATE of a missing privilege."""

_AGAIN = frozenset({"40001", "40P01"})
_TAKEN = frozenset({"sessions_id", "sessions_uid"})

# A failed connection attempt has no SQLSTATE, only the message of the server or of libpq.
_WORDS = (
    ("password authentication failed", "28"),
    ("no password supplied", "28"),
    ("authentication failed", "28"),
    ("is not permitted to log in", "28"),
    ("too many clients", "53300"),
    ("too many connections", "53300"),
    ("remaining connection slots", "53300"),
    ("no more connections allowed", "53300"),
    ("starting up", "57P03"),
    ("shutting down", "57P03"),
)
_REJECTED = "rejects connections of this user, database, address or encryption; allow them in its pg_hba.conf"
_CONNECTING = (
    ("pg_hba.conf", f"the server of {{place}} {_REJECTED}"),
    ("definition of service", "unknown service in the URL or PGSERVICE; correct it or add it to pg_service.conf"),
    ("service file", "cannot read the service file of {place}; correct PGSERVICEFILE"),
    ("root certificate file", "cannot check the TLS certificate of {place}; set sslrootcert to the file of its CA"),
    ("certificate verify failed", "the TLS certificate of {place} is not trusted; set sslrootcert to the file of its CA"),
    ("does not match host name", "the TLS certificate of {place} is for another host; use the host name it has"),
    ("server does not support SSL", "the server of {place} has no TLS; enable it there, or choose another sslmode"),
    ("certificate file", "cannot use the TLS client certificate for {place}; correct sslcert and sslkey"),
    ("private key file", "cannot use the TLS client key for {place}; correct sslkey and its permissions"),
    ("SSL error", "TLS with the server of {place} failed; check sslmode and its certificates"),
    ("session is read-only", "no server of {place} accepts writes; wait for the primary or correct target_session_attrs"),
    ("permission denied for database", "the user of {place} may not connect to the database; grant CONNECT on it"),
    ("unsupported startup parameter", "the pooler at {place} rejects a parameter of the URL; remove it there, or add it to the pooler's ignore_startup_parameters"),
    ("statement pooling", "the pooler at {place} has pool_mode=statement, which has no transactions; set pool_mode=transaction"),
    ("transaction blocks not allowed", "the pooler at {place} has pool_mode=statement, which has no transactions; set pool_mode=transaction"),
)  # fmt: skip
"""Causes of failed connections, in the words of libpq, the server or PgBouncer, and the message for each."""

_UNPREPARED = frozenset({"26000", "42P05"})
_OUTDATED = frozenset({"42P01", "3F000", "42703"})


def is_lost(error: psycopg.Error) -> bool:
    """Return True if an error ended the connection."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.OperationalError) and not state:
        return not isinstance(error, psycopg.errors.PipelineAborted)  # an error of the driver
    severity = error.diag.severity_nonlocalized or error.diag.severity
    return severity in ("FATAL", "PANIC") or state.startswith("08")


def is_passing(error: psycopg.Error) -> bool:
    """Return True if a unit of work failed only because of a concurrent one, so that it can be retried."""
    if error.sqlstate == "23505":
        return error.diag.constraint_name in _TAKEN
    return error.sqlstate in _AGAIN


def is_unprepared(error: psycopg.Error) -> bool:
    """Return True if a prepared statement does not exist in the session, or another one has its name."""
    return error.sqlstate in _UNPREPARED


def is_outdated(error: psycopg.Error) -> bool:
    """Return True if a table, column or schema does not exist."""
    return error.sqlstate in _OUTDATED


def translate_error(
    error: psycopg.Error, address: StoreAddress, *, write: bool = True
) -> OmniAgentError:
    """Return the error for a driver error."""
    place = address.url
    words = message_of(error, address)
    if isinstance(error, PoolExhaustedError):
        return StoreLocked(
            f"every connection of this process to {place} is in use; use fewer threads or a larger pool_size"
        )
    if isinstance(error, SilentServerError | SilentConnectionError):
        return StoreUnreachable(
            f"the server of {place} does not answer ({words}); check it, or raise answer_timeout in the URL"
        )
    if error.sqlstate is None and isinstance(error, psycopg.DataError):
        return InvalidRecord(f"PostgreSQL cannot store this: {words}")
    state = error.sqlstate or _state_of(words)
    if state == MISSING_PRIVILEGE:
        kind = StoreReadOnly if write else StoreUnreachable
        return kind(
            f"the user of {place} lacks a privilege ({words}); do it as the owner of the tables"
        )
    if state == "23505":
        return StoreCorrupt(
            f"the store {place} already has messages at the next position; run: omniagent store check --repair"
        )
    return _translate_state(error, state, words, place)


def _translate_state(error: psycopg.Error, state: str, words: str, place: str) -> OmniAgentError:
    cause = next((message for text, message in _CONNECTING if text in words), None)
    if cause is not None and state[:2] in ("", "08"):
        what, _, do = cause.format(place=place).partition("; ")
        return StoreUnreachable(f"{what} ({words}); {do}")
    found = _SAID.get(state) or _KINDS.get(state[:2])
    if found is not None:
        return found[0](f"the server of {place} {found[1]} ({words})")
    if isinstance(error, psycopg.OperationalError) and not error.sqlstate:
        return StoreUnreachable(
            f"cannot reach a server at {place} ({words}); check the address and that the server is running"
        )
    return StoreUnavailable(f"PostgreSQL failed on {place}: {words}")


def message_of(error: psycopg.Error, address: StoreAddress) -> str:
    """Return the message of the server or driver, on one line and without secrets."""
    text = first_line(error.diag.message_primary or str(error), 300)
    return address.mask(text) or type(error).__name__


def _state_of(words: str) -> str:
    if 'database "' in words and "does not exist" in words:
        return "3D"
    if 'role "' in words and "does not exist" in words:
        return "28"
    return next((state for text, state in _WORDS if text in words), "")
