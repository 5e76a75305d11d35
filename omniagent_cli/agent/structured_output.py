"""Answers that follow a JSON schema, or are the code in them: how they are asked for, found and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import one_line

_AT_MOST = 20
"""So many problems of an answer are told."""

# What OpenAI's strict mode takes: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
_STRICT_WORDS = frozenset(
    {
        "$schema", "$id", "$defs", "definitions", "$ref", "title", "description", "type", "enum", "const", "anyOf",
        "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "pattern", "format",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    }
)  # fmt: skip
_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)$")


def response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``response_format`` of a request; strict where the schema is one that strict mode takes."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", str(schema.get("title", "")))[:64].strip("_")
    strict = schema.get("type") == "object" and _is_strict(schema)
    told = {"name": name or "answer", "schema": dict(schema), "strict": strict}
    return {"type": "json_schema", "json_schema": told}


def _is_strict(schema: Any) -> bool:
    if not isinstance(schema, dict) or not schema.keys() <= _STRICT_WORDS:
        return False
    properties = schema.get("properties", {})
    named = all(isinstance(part, dict) for part in (properties, schema.get("$defs", {})))
    if not named or not isinstance(schema.get("definitions", {}), dict):
        return False
    if schema.get("type") == "object" or "properties" in schema:
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_strict, _below(schema)))


def _below(schema: Mapping[str, Any]) -> Iterator[Any]:
    for word in ("properties", "$defs", "definitions"):
        yield from schema.get(word, {}).values()
    yield from schema.get("anyOf", ())
    if "items" in schema:
        yield schema["items"]


def instruction(schema: Mapping[str, Any]) -> str:
    """Return the schema in words, for models whose server does not hold them to it."""
    return (
        "Answer with one JSON value that follows this JSON schema, and with nothing else: "
        f"no words around it, no code fence.\n{dump(dict(schema)).decode()}"
    )


def check_schema(text: str, origin: str) -> dict[str, Any]:
    """Read a JSON schema.

    Raises:
        UsageError: it is not JSON, not a schema, or points outside itself; nothing is fetched.
    """
    try:
        schema = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deeply to be a schema") from error
    except ValueError as error:
        raise UsageError(f"{origin} is not JSON: {one_line(str(error))}") from error
    if not isinstance(schema, dict):
        raise UsageError(f"{origin} is no JSON schema: it is {_kind(schema)}, not an object")
    import jsonschema

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        wrong = jsonschema.exceptions.best_match(kind(kind.META_SCHEMA).iter_errors(schema))
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deeply to be a schema") from error
    if wrong is not None:
        raise UsageError(f"{origin} is no JSON schema: {_told(wrong)}")
    _check_references(schema, kind, origin)
    return schema


def _check_references(schema: Mapping[str, Any], kind: Any, origin: str) -> None:
    """Refuse references that lead nowhere, before a model is paid for an answer nobody can check."""
    import referencing
    import referencing.exceptions
    from referencing.jsonschema import specification_with

    specification = specification_with(kind.META_SCHEMA["$schema"])
    resource = referencing.Resource.from_contents(schema, default_specification=specification)
    registry = referencing.Registry().with_resource("", resource).crawl()
    resolver = registry.resolver_with_root(resource)
    words = [word for word in _words(schema) if word != ("$id", schema.get("$id"))]
    if any(name == "$id" for name, _ in words):
        return  # its parts have names of their own; what leads nowhere shows when it is used
    for reference in (value for name, value in words if name == "$ref"):
        try:
            resolver.lookup(reference)
        except (referencing.exceptions.Unresolvable, ValueError) as error:
            raise UsageError(
                f"{origin} refers to {one_line(reference)!r}, which is not in it; nothing is fetched, put it under $defs"
            ) from error


def _words(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the references and the names in a schema."""
    todo: list[Any] = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            for word in ("$id", "$ref"):
                if isinstance(part.get(word), str):
                    yield word, part[word]
            todo += [
                inner for key, inner in part.items() if key not in ("const", "enum", "default")
            ]
        elif isinstance(part, list):
            todo += part


def problems(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a value, a line for each problem: where, and why; empty when it follows the schema."""
    import jsonschema
    import referencing
    import referencing.exceptions

    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    # A registry of our own, because the default one would fetch what a schema refers to.
    checker = kind(schema, registry=referencing.Registry(), format_checker=kind.FORMAT_CHECKER)
    try:
        found = sorted(checker.iter_errors(value), key=lambda wrong: list(map(str, wrong.path)))
    except RecursionError:
        return ["it, or the schema, is nested too deeply to be checked"]
    except referencing.exceptions.Unresolvable as error:
        return [f"the schema refers to what is not in it: {one_line(str(error))}"]
    told = [_told(wrong) for wrong in found[:_AT_MOST]]
    return [*told, f"... and {len(found) - _AT_MOST} more"] if len(found) > _AT_MOST else told


def _told(wrong: Any) -> str:
    place = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step}" for step in wrong.absolute_path
    )
    reason = one_line(wrong.message)
    reason = reason if len(reason) <= 200 else f"{reason[:199]}…"
    return f"{one_line(f'${place}')}: {reason}"


def read_json(text: str) -> Any:
    """Return the JSON value an answer is, or the one in its first code block.

    Raises:
        ValueError: there is none.
    """
    try:
        return _loaded(text)
    except ValueError:
        block = first_code_block(text)
        if block is None:
            raise
        return _loaded(block)


def _loaded(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
    return "null" if value is None else kinds.get(type(value), "a number")


def first_code_block(text: str) -> str | None:
    """Return what stands in the first fenced block of Markdown, without the fence; None when there is none.

    As CommonMark has it: the end needs a fence of the same kind, at least as long; without one the block ends
    with the text. The indentation of the fence, which may stand deep in a list, is taken off its lines.
    """
    lines = text.splitlines(keepends=True)
    for start, line in enumerate(lines):
        opened = _FENCE.match(line.rstrip("\r\n"))
        if opened and not (opened["fence"][0] == "`" and "`" in opened["info"]):
            return "".join(_inside(lines[start + 1 :], opened["fence"], len(opened["indent"])))
    return None


def _inside(lines: list[str], fence: str, indent: int) -> Iterator[str]:
    for line in lines:
        bare = line.strip()
        closes = len(bare) >= len(fence) and not bare.strip(fence[0])
        if bare and closes:
            return
        yield line[min(indent, len(line) - len(line.lstrip(" "))) :]
