"""The cache of model names: the models that each provider listed last, for TAB and for lists.

One line per model, ``provider:model<TAB>time<TAB>address<TAB>fields``, which TAB reads without a JSON parser. `fields`
are the other fields of the provider's list as a JSON object, such as ``shutdown_date``; empty when there are none.
"""

from __future__ import annotations

import os

from omniagent_cli.config.paths import directory
from omniagent_cli.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Row = tuple[str, str, str, str]
    """Model as ``provider:name``, time of the request (RFC 3339), address of the server, other fields as JSON."""

__all__ = ["model_names", "read_models", "write_models"]

_LONGEST_NAME = 200
_MODELS_AT_MOST = 5000
_LARGEST_BYTES = 4_000_000


def read_models(environ: Mapping[str, str]) -> list[Row]:
    """Return the cached models; lines and files that cannot be read are skipped."""
    try:
        with open(_path(environ), encoding="utf-8") as file:  # noqa: PTH123  # pathlib is slow to import
            lines = file.read(_LARGEST_BYTES).split("\n")
    except (OSError, ValueError, ConfigError):
        return []
    rows = ([*line.split("\t"), ""] for line in lines)
    return [
        (row[0], row[1], row[2], row[3])
        for row in rows
        if len(row) in (4, 5) and row[0].isprintable()
    ]


def write_models(
    provider: str,
    base_url: str,
    requested_at: str,
    models: Iterable[str],
    environ: Mapping[str, str],
    *,
    fields: Mapping[str, str] | None = None,
) -> None:
    """Replace the cached models of a provider, best effort.

    Names that could not be typed or that could drive a terminal are skipped, because a server may send anything.

    Args:
        provider: its name.
        base_url: the address of the request.
        requested_at: the time of the request.
        models: the names of the models.
        environ: the environment variables.
        fields: the other fields of a model as JSON on one line, by its name.
    """
    from pathlib import Path

    from omniagent_cli.private_files import locked_directory, write_private

    new = [
        f"{provider}:{name}\t{requested_at}\t{base_url}\t{(fields or {}).get(name, '')}\n"
        for name in dict.fromkeys(models)
        if 0 < len(name) <= _LONGEST_NAME and name.isprintable() and " " not in name
    ]
    try:
        path = Path(_path(environ))
        with locked_directory(path.parent):
            kept = [
                "\t".join(row) + "\n"
                for row in read_models(environ)
                if not row[0].startswith(f"{provider}:")
            ]
            lines = "".join([*kept, *new[:_MODELS_AT_MOST]])
            write_private(path, lines.encode("utf-8", "replace"))
    except (OSError, ConfigError):
        return


def model_names(
    options: Mapping[str, str], defaults: Iterable[tuple[str, str]], environ: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return model names for TAB: aliases, the cached models, and the default model of each provider.

    Args:
        options: the options on the line.
        defaults: names that are always known, with descriptions.
        environ: the environment variables.
    """
    found = _aliases(options.get("--config") or environ.get("OMNIAGENT_CONFIG", ""), environ)
    for name, *_ in read_models(environ):
        found.setdefault(name, "")
    for name, text in defaults:
        found.setdefault(name, text)
    return list(found.items())


def _aliases(config_file: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the aliases of the user's file, which is parsed only when it contains the word: that is slow."""
    path = config_file or f"{directory('config', environ)}/config.toml"
    try:
        with open(os.path.expanduser(path), "rb") as file:  # noqa: PTH111, PTH123
            data = file.read(_LARGEST_BYTES)
        if b"aliases" not in data:
            return {}
        import tomllib

        aliases = tomllib.loads(data.decode("utf-8"))["models"]["aliases"]
        return {
            name: model
            for name, model in aliases.items()
            if isinstance(model, str) and name.isprintable() and model.isprintable()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _path(environ: Mapping[str, str]) -> str:
    return f"{directory('cache', environ)}/models"
