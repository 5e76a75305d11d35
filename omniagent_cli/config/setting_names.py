"""Names of settings: ``window.max_tokens``, ``prices."openai:gpt-6.1-sol".input``; as text and as parts."""

from __future__ import annotations

import re

from omniagent_cli.errors import ConfigError

Key = tuple[str, ...]

_PART = re.compile(r'"((?:\\.|[^"\\])*)"|\'([^\']*)\'|([^.\s"\'=\[\]{}#]+)', re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}


def split_key(text: str) -> Key:
    """Split a name into its parts; a part with dots is quoted.

    Raises:
        ConfigError: the name is malformed.
    """
    parts, position = [], 0
    while match := _PART.match(text, position):
        parts.append(_part_text(match, text))
        position = match.end()
        if position == len(text):
            return tuple(parts)
        if text[position] != ".":
            break
        position += 1
    raise ConfigError(
        f"{text!r} is not the name of a setting; write it like window.max_tokens, with quotes around a part with dots"
    )


def join_key(key: Key) -> str:
    """Join parts to a name that `split_key` and TOML can read."""
    return ".".join(part if _BARE.fullmatch(part) else _quoted(part) for part in key)


def _part_text(match: re.Match[str], text: str) -> str:
    if match[1] is None:
        return match[2] if match[2] is not None else match[3]
    import json

    try:
        return str(json.loads(f'"{match[1]}"', strict=False))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not the name of a setting: {error}") from error


def _quoted(part: str) -> str:
    return '"' + "".join(map(_escaped, part)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    # Invisible characters and those that change the text direction are escaped too.
    if character == " " or character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
