"""Where a PostgreSQL store is: the parameters of its connection, its schema, and a URL without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode, urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from omniagent_cli.errors import ConfigError

DEFAULT_SCHEMA = "omniagent"

_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key"})
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")

# A server that went away without a word is noticed after a minute, not after the hours TCP would take.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_DEFAULTS = {
    "application_name": "omniagent",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


@dataclass(frozen=True, slots=True, repr=False)
class Place:
    """A schema on a server; not shown by `repr`, because it holds the password.

    Attributes:
        parameters: what libpq is given.
        schema: the name of the schema, safe to put in double quotes.
        server: a URL of the database, without secrets.
    """

    parameters: Mapping[str, str]
    schema: str
    server: str

    @property
    def url(self) -> str:
        """The URL of the store, without secrets."""
        if self.schema == DEFAULT_SCHEMA:
            return self.server
        return f"{self.server}{'&' if '?' in self.server else '?'}schema={self.schema}"


def find_place(
    url: str, parts: Mapping[str, str | int | None], schema: str | None, connect_timeout: float
) -> Place:
    """Read a URL, the parts that go before it, and the name of the schema.

    Args:
        url: ``postgresql://user:password@host:port/database?sslmode=...&schema=...``; any parameter of libpq.
        parts: libpq parameters that count more than the URL's; None is absent.
        schema: counts more than the URL's ``schema``.
        connect_timeout: seconds, when the URL names none.

    Raises:
        ConfigError: it is no such URL, or no name for a schema.
    """
    bare, named = _without_schema(url)
    try:
        parameters = {key: str(value) for key, value in conninfo_to_dict(bare).items()}
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            f"{_safe(url)} is not a PostgreSQL URL{_reason(error, url)}; write it like"
            " postgresql://user@host:5432/database"
        ) from None  # the driver's own message may hold a piece of the password
    own = {key: str(value) for key, value in parts.items() if value is not None}
    given = {**parameters, **own}
    wanted = schema or named or DEFAULT_SCHEMA
    if not _NAME.fullmatch(wanted) or wanted.lower().startswith("pg_"):
        raise ConfigError(
            f"{wanted!r} cannot be the schema of a store; use at most 63 letters, digits, - and _, not pg_ at the start"
        )
    timeout = {"connect_timeout": str(max(2, round(connect_timeout)))}
    return Place(
        {**_DEFAULTS, **timeout, **given, "client_encoding": "UTF8"}, wanted, _shown(given)
    )


def _without_schema(url: str) -> tuple[str, str | None]:
    """Take our own parameter out of a URL, which libpq would refuse."""
    head, mark, query = url.partition("?")
    if not mark:
        return url, None
    pairs = query.split("&")
    named = [unquote(p.partition("=")[2]) for p in pairs if p.partition("=")[0] == "schema"]
    kept = [pair for pair in pairs if pair.partition("=")[0] != "schema"]
    return f"{head}?{'&'.join(kept)}" if kept else head, named[-1] if named else None


def _shown(parameters: Mapping[str, str]) -> str:
    """Return a URL that opens the same place for somebody who has the password elsewhere."""
    rest = {key: value for key, value in parameters.items() if key not in _SECRETS}
    user, host = rest.pop("user", ""), rest.pop("host", "")
    port, database = rest.pop("port", ""), rest.pop("dbname", "")
    if "/" in host or "," in host or "@" in host:
        rest["host"], host = host, ""
        if port:
            rest["port"], port = port, ""
    elif ":" in host:
        host = f"[{host}]"
    query = f"?{urlencode(rest, safe='/,:', quote_via=quote)}" if rest else ""
    who = f"{quote(user, safe='')}@" if user else ""
    where = f"{host}:{port}" if port else host
    return f"postgresql://{who}{where}/{quote(database, safe='')}{query}"


def _safe(url: str) -> str:
    """Return of a URL that cannot be read what surely holds no secret."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return f"the URL with the host {host!r}" if host else "the URL given"


def _reason(error: psycopg.Error, url: str) -> str:
    """Return what the driver says, unless it quotes what stands before the host."""
    text = str(error).strip()
    user_part = url.partition("@")[0] if "@" in url else ""
    quoted = re.findall(r'"([^"]*)"', text)
    if any(piece and (piece in user_part or piece in unquote(user_part)) for piece in quoted):
        return ""
    return "" if "password" in url.partition("?")[2] else f" ({text})"
