"""Resolution of settings: the store, the model and the window that they choose."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from omniagent_cli.config import paths
from omniagent_cli.config.resolved_value import Origin, ResolvedValue
from omniagent_cli.config.settings import Settings
from omniagent_cli.errors import ConfigError
from omniagent_cli.masking import MASK
from omniagent_cli.parsing import did_you_mean
from omniagent_cli.stores.location import StoreLocation

if TYPE_CHECKING:
    from omniagent_cli.agent.context.window import Window

# Two letters at least: one is a Windows drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
_KEY_VARIABLE = "OMNIAGENT_ENCRYPTION_KEY"


class StoreChoice(NamedTuple):
    """The store to open.

    Attributes:
        location: its URL, parsed.
        name: name of its ``[stores.NAME]`` table, or None.
        compress: whether to compress.
        encrypt: whether to encrypt; None: if a key is configured.
        key: the key or passphrase from the environment.
        key_file: the file that holds it.
        origin: origin of the choice.
    """

    location: StoreLocation
    name: str | None
    compress: bool
    encrypt: bool | None
    key: str | None
    key_file: Path | None
    origin: Origin

    def __repr__(self) -> str:
        key = MASK if self.key else None
        return f"StoreChoice(location={self.location!r}, name={self.name!r}, key={key!r}, key_file={self.key_file!r})"

    @property
    def url(self) -> str:
        """The URL, with its password."""
        return self.location.url

    @property
    def shown(self) -> str:
        """The store for display, without secrets."""
        return f"@{self.name}" if self.name else self.location.masked


def resolve_store(settings: Settings) -> StoreChoice:
    """Return the store to open: flag, OMNIAGENT_STORE, OMNIAGENT_STORAGE_*, files, the default.

    A named store has its own compression, encryption and key where it sets them, else those of ``[store]``, so that
    encryption applies to every store. A flag or a variable takes precedence over both.

    Raises:
        ConfigError: the named store is unknown or incomplete, or its password is missing.
    """
    chosen = settings.lookup(("store", "url"))
    if chosen.value is None:
        url, name = paths.default_store_url(settings.environ), None
    elif chosen.value.startswith("@"):
        url, name = _named_url(settings, chosen)
    else:
        url, name = _anchored(settings, chosen), None
    key, key_file = _key(settings, name)
    return StoreChoice(
        _location(url, chosen.origin),
        name,
        compress=_option(settings, name, "compress").value,
        encrypt=_option(settings, name, "encrypt").value,
        key=key,
        key_file=key_file,
        origin=chosen.origin,
    )


def resolve_model(settings: Settings, name: str) -> str:
    """Replace an alias by its model, and add ``agent.provider`` to a model without a provider.

    Raises:
        ConfigError: aliases form a cycle.
    """
    aliases, seen = settings.aliases, [name]
    while name in aliases:
        name = aliases[name]
        if name in seen:
            raise ConfigError(
                f"the model aliases {' -> '.join([*seen, name])} form a cycle; set one of them to a model"
            )
        seen.append(name)
    provider = settings.agent.provider
    return f"{provider}:{name}" if provider and ":" not in name else name


def chosen_model(settings: Settings) -> tuple[str | None, Origin]:
    """Return the configured model and its origin; None if none is configured.

    A provider without a model means its default model.
    """
    chosen = settings.lookup(("model",))
    if chosen.value is None:
        return settings.agent.provider or None, settings.origin("agent.provider")
    name, provider = resolve_model(settings, chosen.value), settings.agent.provider
    # In the older pair of variables, the model is a bare name even with a colon ("llama3:8b").
    if (
        chosen.origin.layer == "environment"
        and str(chosen.origin) == "variable OMNIAGENT_AGENT_MODEL"
        and chosen.value not in settings.aliases
        and settings.origin("agent.provider").layer == "environment"
        and not name.startswith(f"{provider}:")
    ):
        name = f"{provider}:{name}"
    return name, chosen.origin


def resolve_window(settings: Settings) -> Window:
    """Return the window of messages that is sent to the model."""
    from omniagent_cli.agent.context.window import Window

    window = settings.window
    return Window(window.max_messages, window.max_tokens, window.compact_at)


def _named_url(settings: Settings, chosen: ResolvedValue) -> tuple[str, str]:
    name = chosen.value[1:]
    stores: dict[str, dict[str, Any]] = settings.table(("stores",))
    if name not in stores:
        raise ConfigError(
            f"unknown store @{name} ({chosen.origin}); {_stores_there_are(name, list(stores))}"
        )
    found = settings.lookup(("stores", name, "url"))
    if found.value is None:
        raise ConfigError(
            f"the store @{name} has no URL; set it with 'omniagent config set stores.{name}.url URL'"
        )
    if found.value.startswith("@"):
        raise ConfigError(
            f"invalid stores.{name}.url {found.value!r} ({found.origin}): must be a URL, not another name"
        )
    url = _anchored(settings, found)
    variable = settings.lookup(("stores", name, "password_env")).value
    return (_with_password(settings, name, url, variable) if variable else url), name


def _stores_there_are(name: str, names: list[str]) -> str:
    if not names:
        return f"add it to your settings file: [stores.{name or 'work'}] with url = ..."
    known = [f"@{one}" for one in names]
    return did_you_mean(f"@{name}", known, f"known stores: {', '.join(known)}")


def _with_password(settings: Settings, name: str, url: str, variable: str) -> str:
    password = settings.environ.get(variable)
    if not password:
        raise ConfigError(
            f"the store @{name} takes its password from the environment variable {variable}, which is not set"
        )
    from urllib.parse import quote, urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(
            f"stores.{name}.url is not a URL; write it like redis://host:6379/0"
        ) from error
    if not parts.netloc:
        raise ConfigError(
            f"the store @{name} has no server and needs no password; remove stores.{name}.password_env"
        )
    userinfo, _, server = parts.netloc.rpartition("@")
    user = userinfo.partition(":")[0]
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{server}"))


def _location(url: str, origin: Origin) -> StoreLocation:
    """Parse the URL of a store.

    Raises:
        ConfigError: it is invalid; the message names the origin, except for a flag.
    """
    try:
        return StoreLocation(url)
    except ConfigError as error:
        if origin.layer == "flag":
            raise
        raise ConfigError(f"{origin}: {error}") from error


def _option(settings: Settings, name: str | None, option: str) -> ResolvedValue:
    general = settings.lookup(("store", option))
    if name is None or general.origin.layer in {"environment", "flag"}:
        return general
    own = settings.lookup(("stores", name, option))
    return general if own.value is None else own


def _key(settings: Settings, name: str | None) -> tuple[str | None, Path | None]:
    key = settings.environ.get(_KEY_VARIABLE) or None
    chosen = _option(settings, name, "key_file")
    layer = chosen.origin.layer if chosen.value is not None else "default"
    if key and layer == "environment":
        raise ConfigError(
            f"{_KEY_VARIABLE} and {_KEY_VARIABLE}_FILE are both set; unset one of them"
        )
    if chosen.value is None or (key and layer != "flag"):
        return key, None
    return None, Path(_anchored(settings, chosen))


def _anchored(settings: Settings, chosen: ResolvedValue) -> str:
    """Return a URL unchanged; resolve a path from a file relative to that file."""
    text = str(chosen.value)
    if _SCHEME.match(text):
        return text
    if text.startswith("~"):
        return str(paths.expand(text, settings.environ))
    document = chosen.origin.document
    if document is None or Path(text).is_absolute():
        return text
    return f"{document.path.absolute().parent}/{text}"
