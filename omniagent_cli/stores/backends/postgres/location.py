"""Location of a PostgreSQL store: connection parameters, schema, and a URL without secrets."""

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

# A vanished server is detected after a minute, not after the hours that TCP takes.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
_DEFAULTS = {
    "application_name": "omniagent",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}


@dataclass(frozen=True, slots=True, repr=False)
class StoreAddress:
    """A schema on a server; `repr` hides it, because it contains the password.

    Attributes:
        parameters: parameters for libpq.
        schema: name of the schema, safe in double quotes.
        server: URL of the database, without secrets.
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


def parse_address(
    url: str, parts: Mapping[str, str | int | None], schema: str | None, connect_timeout: float
) -> StoreAddress:
    """Parse a URL, the parts that override it, and the name of the schema.

    Args:
        url: ``postgresql://user:password@host:port/database?sslmode=...&schema=...``; any parameter of libpq.
        parts: libpq parameters that override the URL's; None means missing.
        schema: overrides the URL's ``schema``.
        connect_timeout: seconds, if the URL has none.

    Raises:
        ConfigError: the URL or the name of the schema is invalid.
    """
    bare, named = _without_schema(url)
    try:
        parameters = {key: str(value) for key, value in conninfo_to_dict(bare).items()}
    except psycopg.ProgrammingError as error:
        raise ConfigError(
            f"{_safe(url)} is not a PostgreSQL URL{_reason(error, url)}; write it like"
            " postgresql://user@host:5432/database"
        ) from None  # the driver's message may contain a part of the password
    own = {key: str(value) for key, value in parts.items() if value is not None}
    given = {**parameters, **own}
    wanted = schema or named or DEFAULT_SCHEMA
    if not _NAME.fullmatch(wanted) or wanted.lower().startswith("pg_"):
        raise ConfigError(
            f"{wanted!r} cannot be the schema of a store; use at most 63 letters, digits, - and _, not pg_ at the start"
        )
    timeout = {"connect_timeout": str(max(2, round(connect_timeout)))}
    return StoreAddress(
        {**_DEFAULTS, **timeout, **given, "client_encoding": "UTF8"}, wanted, _shown(given)
    )


def _without_schema(url: str) -> tuple[str, str | None]:
    """Remove the parameter ``schema`` from a URL, because libpq rejects it."""
    head, mark, query = url.partition("?")
    if not mark:
        return url, None
    pairs = query.split("&")
    named = [unquote(p.partition("=")[2]) for p in pairs if p.partition("=")[0] == "schema"]
    kept = [pair for pair in pairs if pair.partition("=")[0] != "schema"]
    return f"{head}?{'&'.join(kept)}" if kept else head, named[-1] if named else None


def _shown(parameters: Mapping[str, str]) -> str:
    """Return a URL without secrets that opens the same store."""
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
    """Return the part of an invalid URL that cannot contain a secret."""
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return f"the URL with the host {host!r}" if host else "the URL given"


def _reason(error: psycopg.Error, url: str) -> str:
    """Return the driver's message, unless it quotes the part before the host."""
    text = str(error).strip()
    user_part = url.partition("@")[0] if "@" in url else ""
    quoted = re.findall(r'"([^"]*)"', text)
    if any(piece and (piece in user_part or piece in unquote(user_part)) for piece in quoted):
        return ""
    return "" if "password" in url.partition("?")[2] else f" ({text})"
