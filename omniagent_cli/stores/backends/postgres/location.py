"""Location of a PostgreSQL store: connection parameters, schema, and a URL without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlencode

import psycopg
from psycopg.conninfo import conninfo_to_dict

from omniagent_cli.errors import ConfigError
from omniagent_cli.masking import MASK, mask_url
from omniagent_cli.stores.backends.postgres.connection import DEFAULT_PREPARE, Limits

DEFAULT_SCHEMA = "omniagent"

OWN_PARAMETERS = frozenset(
    {
        "schema",
        "answer_timeout",
        "statement_timeout",
        "lock_timeout",
        "pool_size",
        "prepare_threshold",
        "pgbouncer",
    }
)
"""Parameters of the URL that libpq does not know; ``pgbouncer=true`` is what hosted poolers put into theirs."""

_SECRETS = frozenset({"password", "sslpassword", "oauth_client_secret", "scram_client_key"})
_SHORTEST_SECRET = 4
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
        limits: timeouts, size of the pool, and prepared statements, as the URL has them.
    """

    parameters: Mapping[str, str]
    schema: str
    server: str
    limits: Limits

    @property
    def url(self) -> str:
        """The URL of the store, without secrets."""
        if self.schema == DEFAULT_SCHEMA:
            return self.server
        return f"{self.server}{'&' if '?' in self.server else '?'}schema={self.schema}"

    def mask(self, text: str) -> str:
        """Return a text of the driver or server without the secrets of the URL."""
        for key in _SECRETS & self.parameters.keys():
            secret = self.parameters[key]
            if len(secret) >= _SHORTEST_SECRET:  # a shorter one would mask parts of words
                text = text.replace(secret, MASK)
        return text


def parse_address(
    url: str,
    parts: Mapping[str, str | int | None],
    options: Mapping[str, str | float | None],
    connect_timeout: float = 10.0,
) -> StoreAddress:
    """Parse a URL, the parts that override it, and the name of the schema.

    Args:
        url: ``postgresql://user:password@host:port/database?sslmode=...&schema=...``; any parameter of libpq,
            and `OWN_PARAMETERS`. ``postgresql:`` alone takes everything from libpq's environment variables.
        parts: libpq parameters that override the URL's; None means missing.
        options: override `OWN_PARAMETERS` of the URL; None means missing.
        connect_timeout: seconds, if the URL has none.

    Raises:
        ConfigError: the URL, one of its parameters or the name of the schema is invalid.
    """
    bare, own = _split_parameters(_plain_url(url))
    own |= {key: str(value) for key, value in options.items() if value is not None}
    try:
        parameters = {key: str(value) for key, value in conninfo_to_dict(bare).items()}
    except psycopg.ProgrammingError:
        raise ConfigError(f"{mask_url(url)} is not a PostgreSQL URL{_reason(bare)}") from None
    if not set(parameters.get("port", "")) <= set("0123456789,"):
        raise ConfigError(f"the port in the PostgreSQL URL is not a number{_ESCAPE}")
    given = parameters | {key: str(value) for key, value in parts.items() if value is not None}
    wanted = own.get("schema") or DEFAULT_SCHEMA
    if not _NAME.fullmatch(wanted) or wanted.lower().startswith("pg_"):
        raise ConfigError(
            f"{wanted!r} cannot be the schema of a store; use at most 63 letters, digits, - and _, not pg_ at the start"
        )
    timeout = {"connect_timeout": str(max(2, round(connect_timeout)))}
    return StoreAddress(
        {**_DEFAULTS, **timeout, **given, "client_encoding": "UTF8"},
        wanted,
        _shown(given),
        _limits(own),
    )


_ESCAPE = "; percent-encode the password: write / as %2F, @ as %40, # as %23, ? as %3F, % as %25"


def _plain_url(url: str) -> str:
    """Return a URL as libpq reads it: with ``//``, and with only one "@", where the host begins.

    Raises:
        ConfigError: the password contains ``/``, so that libpq would take parts of it for host, port and database.
    """
    scheme, _, rest = url.partition(":")
    rest = rest.removeprefix("//")
    end = next((found.start() for found in re.finditer("[/?#]", rest)), len(rest))
    user, at, hosts = rest[:end].rpartition("@")
    if ":" in rest[:end] and "@" in rest[end:].partition("?")[0]:
        raise ConfigError(f"the password in {mask_url(url)} contains / or #{_ESCAPE}")
    return f"{scheme}://{user.replace('@', '%40')}{at}{hosts}{rest[end:]}"


def _split_parameters(url: str) -> tuple[str, dict[str, str]]:
    """Return the URL without `OWN_PARAMETERS`, which libpq rejects, and their values."""
    head, _, query = url.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    own = {key: unquote(value) for key, _, value in pairs if key in OWN_PARAMETERS}
    kept = "&".join("".join(pair) for pair in pairs if pair[0] not in OWN_PARAMETERS)
    return f"{head}?{kept}" if kept else head, own


def _limits(own: Mapping[str, str]) -> Limits:
    known = Limits()
    threshold = round(_number(own, "prepare_threshold", DEFAULT_PREPARE))
    return Limits(
        answer=_number(own, "answer_timeout", known.answer),
        statement=_number(own, "statement_timeout", known.statement),
        lock=_number(own, "lock_timeout", known.lock),
        connections=max(1, round(_number(own, "pool_size", known.connections))),
        prepare=None if own.get("pgbouncer") == "true" else threshold or None,
    )


def _number(own: Mapping[str, str], key: str, default: float) -> float:
    try:
        number = 0.0 if own.get(key) == "none" else float(own.get(key, default))
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ConfigError(f"invalid {key} {own[key]!r} of a PostgreSQL store: must be 0 or more")
    return number


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


def _reason(url: str) -> str:
    """Return what libpq rejects in a URL; its messages quote secrets, so it reads the masked URL."""
    try:
        conninfo_to_dict(mask_url(url))
    except psycopg.ProgrammingError as error:
        return f" ({str(error).strip()}); write it like postgresql://user@host:5432/database"
    return _ESCAPE
