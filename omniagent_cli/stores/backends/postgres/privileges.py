"""Privileges of the user on a PostgreSQL store: what is missing, and the statements that grant it."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg

from omniagent_cli.stores.backends.postgres.schema import TABLES

_ACCESS = """
SELECT current_user::text, current_database()::text, current_setting('transaction_read_only') = 'on',
    pg_is_in_recovery(), has_database_privilege(current_database(), 'CREATE'), n.oid IS NOT NULL,
    coalesce(has_schema_privilege(n.oid, 'USAGE'), false), coalesce(has_schema_privilege(n.oid, 'CREATE'), false),
    EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname = 'omniagent_store'),
    ARRAY(SELECT DISTINCT p::text FROM pg_class c, unnest(%s::text[]) p
        WHERE c.relnamespace = n.oid AND c.relname = ANY(%s) AND NOT has_table_privilege(c.oid, p))
FROM (SELECT) one LEFT JOIN pg_namespace n ON n.nspname = %s
"""
_TABLE_PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")

_VACUUM = """
SELECT current_user::text, pg_get_userbyid(c.relowner)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_database d
WHERE n.nspname = %s AND c.relname = ANY(%s) AND d.datname = current_database()
    AND NOT pg_has_role(c.relowner, 'USAGE') AND NOT pg_has_role(d.datdba, 'USAGE')
"""
_MAINTAIN_SERVER = 170000
"""The version in which MAINTAIN became a privilege."""


class _Access(NamedTuple):
    """The columns of `_ACCESS`."""

    user: str
    database: str
    read_only: bool
    standby: bool
    may_create_schema: bool
    has_schema: bool
    may_use: bool
    may_create: bool
    has_tables: bool
    missing: list[str]


def missing_grants(
    connection: psycopg.Connection[Any], schema: str, *, write: bool = True
) -> list[str]:
    """Return the statements that grant all missing privileges for reading, or for reading and writing."""
    return _grants(_access(connection, schema), schema, write=write)


def write_obstacle(connection: psycopg.Connection[Any], schema: str) -> str | None:
    """Return why the store cannot be written to, found without writing; None if it can."""
    access = _access(connection, schema)
    if access.standby:
        return "the server is a standby; use the address of the primary server"
    if access.read_only:
        return f"the server or the user {access.user} is set to read only; change default_transaction_read_only"
    grants = _grants(access, schema, write=True)
    return (
        f"the user {access.user} lacks privileges; run as the owner in psql: {';'.join(grants)}"
        if grants
        else None
    )


def owner_to_vacuum(connection: psycopg.Connection[Any], schema: str) -> tuple[str, str] | None:
    """Return the user and the owner of the tables, if only the latter may vacuum them."""
    query = _VACUUM
    if connection.info.server_version >= _MAINTAIN_SERVER:
        query += " AND NOT has_table_privilege(c.oid, 'MAINTAIN')"
    return connection.execute(query.encode(), (schema, list(TABLES))).fetchone()


def _access(connection: psycopg.Connection[Any], schema: str) -> _Access:
    values = (list(_TABLE_PRIVILEGES), list(TABLES), schema)
    return _Access._make(connection.execute(_ACCESS.encode(), values).fetchone() or ())


def _grants(access: _Access, schema: str, *, write: bool) -> list[str]:
    user = _quoted(access.user)
    if not access.has_schema:
        if access.may_create_schema or not write:
            return []
        return [f"GRANT CREATE ON DATABASE {_quoted(access.database)} TO {user}"]
    creates = write and not access.has_tables and not access.may_create
    grants = []
    if creates or not access.may_use:
        grants.append(
            f'GRANT {"USAGE, CREATE" if creates else "USAGE"} ON SCHEMA "{schema}" TO {user}'
        )
    if {"SELECT"} & set(access.missing) or (write and access.missing):
        which = ", ".join(_TABLE_PRIVILEGES if write else ("SELECT",))
        grants.append(f'GRANT {which} ON ALL TABLES IN SCHEMA "{schema}" TO {user}')
    return grants


def _quoted(name: str) -> str:
    """Return an identifier in double quotes."""
    return '"' + name.replace('"', '""') + '"'
