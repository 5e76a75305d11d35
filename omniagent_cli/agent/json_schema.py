"""JSON Schema: schemas of users for answers, and schemas of tools for the arguments of a call.

`jsonschema` does the work; it is imported when the first schema is used, because it takes 70 ms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from itertools import islice
from typing import Any

from omniagent_cli.errors import UsageError
from omniagent_cli.parsing import parse_json
from omniagent_cli.text.sanitize import cut, one_line

_MAX_ANSWER_ERRORS = 20
_MAX_ARGUMENT_ERRORS = 5
_MAX_REASON_LENGTH = 200

_MAX_STEPS = 30_000
"""Maximum number of keywords evaluated for one call; a short schema can require unbounded work."""

# Keywords that can take time exponential or quadratic in their input.
_UNBOUNDED = ("pattern", "patternProperties", "uniqueItems", "unevaluatedItems", "unevaluatedProperties")  # fmt: skip

_steps: ContextVar[Iterator[int]] = ContextVar("omniagent_schema_steps")


class _TooManySteps(Exception):
    """The schema needs more than `_MAX_STEPS` steps."""


def read_schema(text: str, origin: str) -> dict[str, Any]:
    """Read a JSON schema.

    Raises:
        UsageError: the text is not JSON, is not a JSON schema, or refers outside itself; nothing is fetched.
    """
    try:
        schema = parse_json(text)
    except ValueError as error:
        raise UsageError(f"{origin} is not JSON: {one_line(str(error))}") from error
    if not isinstance(schema, dict):
        raise UsageError(
            f"{origin} is not a JSON schema: it is {_json_type(schema)}, not an object"
        )
    import jsonschema

    dialect = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        wrong = jsonschema.exceptions.best_match(dialect(dialect.META_SCHEMA).iter_errors(schema))
    except RecursionError as error:
        raise UsageError(f"{origin} is nested too deeply to be a schema") from error
    if wrong is not None:
        raise UsageError(f"{origin} is not a JSON schema: {_format_error(wrong)}")
    _check_references(schema, dialect, origin)
    return schema


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def _check_references(schema: Mapping[str, Any], dialect: Any, origin: str) -> None:
    """Reject unresolvable references before a model is paid for an answer that cannot be validated."""
    import referencing
    import referencing.exceptions
    from referencing.jsonschema import specification_with

    specification = specification_with(dialect.META_SCHEMA["$schema"])
    resource = referencing.Resource.from_contents(schema, default_specification=specification)
    registry = referencing.Registry().with_resource("", resource).crawl()
    resolver = registry.resolver_with_root(resource)
    found = [pair for pair in _ids_and_references(schema) if pair != ("$id", schema.get("$id"))]
    if any(keyword == "$id" for keyword, _ in found):
        return  # subschemas have base URIs of their own; a dangling reference is reported on validation
    for reference in (value for keyword, value in found if keyword == "$ref"):
        try:
            resolver.lookup(reference)
        except (referencing.exceptions.Unresolvable, ValueError) as error:
            raise UsageError(
                f"{origin} refers to {one_line(reference)!r}, which is not in it; nothing is fetched, put it under $defs"
            ) from error


def _ids_and_references(schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield every ``$id`` and ``$ref`` of a schema with its value."""
    todo: list[Any] = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            for keyword in ("$id", "$ref"):
                if isinstance(part.get(keyword), str):
                    yield keyword, part[keyword]
            todo += [
                inner for key, inner in part.items() if key not in ("const", "enum", "default")
            ]
        elif isinstance(part, list):
            todo += part


def validation_errors(value: Any, schema: Mapping[str, Any]) -> list[str]:
    """Return one line per violation of a user's schema, path first; empty if the value is valid."""
    import jsonschema
    import referencing
    import referencing.exceptions

    dialect = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    # An empty registry, because the default one fetches remote references.
    validator = dialect(
        schema, registry=referencing.Registry(), format_checker=dialect.FORMAT_CHECKER
    )
    try:
        errors = sorted(validator.iter_errors(value), key=lambda wrong: list(map(str, wrong.path)))
    except RecursionError:
        return ["the value or the schema is nested too deeply to be validated"]
    except referencing.exceptions.Unresolvable as error:
        return [f"the schema has an unresolvable reference: {one_line(str(error))}"]
    lines = [_format_error(wrong) for wrong in errors[:_MAX_ANSWER_ERRORS]]
    more = len(errors) - len(lines)
    return [*lines, f"... and {more} more"] if more else lines


def argument_errors(arguments: Any, schema: Any) -> list[str]:
    """Return the first violations of a tool's schema, path first; empty if the arguments are valid.

    A schema may come from a faulty or hostile MCP server: keywords that are malformed, or could take unbounded time,
    are ignored, and so is everything after `_MAX_STEPS` steps.
    """
    if not isinstance(schema, Mapping):
        return []
    import jsonschema
    import referencing

    dialect = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    validator = _bounded(dialect)(_without_dialects(schema), registry=referencing.Registry())
    token = _steps.set(iter(range(_MAX_STEPS)))
    lines: list[str] = []
    try:
        errors = islice(validator.iter_errors(arguments), _MAX_ARGUMENT_ERRORS)
        lines.extend(_format_error(_closest(error)) for error in errors)
    except _TooManySteps:
        pass  # the errors found until here count
    finally:
        _steps.reset(token)
    return lines


def _closest(error: Any) -> Any:
    """Return the error in the alternative of an ``anyOf`` or ``oneOf`` that comes closest to the value."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.path), inner.validator != "type"))
    return error


def _without_dialects(schema: Any) -> Any:
    """Copy a schema without ``$schema``, which would select an unbounded validator for the part below it."""
    if isinstance(schema, Mapping):
        return {
            key: _without_dialects(part)
            for key, part in schema.items()
            if key != "$schema" or not isinstance(part, str)
        }
    return [_without_dialects(part) for part in schema] if isinstance(schema, list) else schema


@functools.cache
def _bounded(dialect: Any) -> Any:
    """Return a validator class whose keywords never fail and take a bounded number of steps."""
    import jsonschema

    checks = dict(dialect.VALIDATORS) | {"additionalProperties": _additional_properties}
    checks |= dict.fromkeys(_UNBOUNDED, _ignore)
    guarded = {keyword: _guard(keyword, check) for keyword, check in checks.items()}
    return jsonschema.validators.extend(dialect, guarded)


def _ignore(*_: Any) -> tuple[()]:
    return ()


def _guard(keyword: str, check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def run(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if next(_steps.get(), None) is None:
            raise _TooManySteps
        # OpenAPI 3.0 has Boolean exclusive bounds.
        if value == [] or (keyword.startswith("exclusive") and isinstance(value, bool)):
            return
        try:
            yield from check(validator, value, instance, schema) or ()
        except _TooManySteps:
            raise
        except Exception:  # noqa: BLE001  # a malformed keyword can raise anything; it is ignored, see argument_errors
            return

    return run


def _additional_properties(
    validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """Validate properties that are not declared; those that a pattern may declare pass."""
    import jsonschema

    if not isinstance(instance, dict) or "patternProperties" in schema:
        return
    declared = schema.get("properties", {})
    for name in instance:
        if name in declared:
            continue
        if value is False:
            names = ", ".join(declared) or "none"
            yield jsonschema.ValidationError(
                f"unknown property {name!r}; the properties are {names}"
            )
        else:
            yield from validator.descend(instance[name], value, path=name)


def _format_error(error: Any) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)
    path = one_line(f"${''.join(steps)}")
    return f"{cut(path, _MAX_REASON_LENGTH)}: {cut(one_line(error.message), _MAX_REASON_LENGTH)}"
