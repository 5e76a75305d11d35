"""Does a JSON value fit a JSON schema, and what would have to change: in words a model or a person can act on.

The keywords are those that schemas of arguments and answers use: type, enum, const, properties, required,
additionalProperties, items, prefixItems, the bounds, anyOf, oneOf, allOf, not and $ref within the document. A schema
may come from a server that is wrong or hostile: what cannot be understood forbids nothing, and patterns are not tried,
because one can be written that never ends (https://json-schema.org/draft/2020-12).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from omniagent_cli.errors import InvalidRecord
from omniagent_cli.json_format import dump
from omniagent_cli.text.sanitize import cut

_TOLD = 5
_DEPTH = 64
_STEPS = 100_000
"""A schema can be written that takes longer than anybody lives; what is not looked at by then fits."""

_VALUE_LENGTH = 60
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list, tuple),
    "object": (dict,),
}


def misfits(value: Any, schema: Any) -> list[str]:
    """Return what is wrong with a value, a few of the things when there are many; nothing when it fits."""
    return list(islice(_Check(schema).wrong(value, schema, ""), _TOLD))


def type_name(value: Any) -> str:
    """Return what JSON calls a value's type."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "number"
    return next((name for name, types in _TYPES.items() if isinstance(value, types)), "object")


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are equal: true is not 1, though Python says so; 1.0 is 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other)


class _Check:
    """One comparison; knows the whole schema, in which references are looked up."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = _STEPS

    def wrong(self, value: Any, schema: Any, where: str, depth: int = 0) -> Iterator[str]:
        """Yield what is wrong."""
        if schema is False:
            yield f"{_called(where)} is not allowed"
        self._steps -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH or self._steps < 0:
            return
        if isinstance(schema.get("$ref"), str):
            yield from self.wrong(value, self._referred(schema["$ref"]), where, depth + 1)
        kinds = _listed(schema.get("type"))
        if kinds and not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(str(kind) for kind in kinds)
            yield f"{_called(where)} has to be {wanted}, not {type_name(value)}"
            return
        yield from _choices(value, schema, where)
        yield from _bounds(value, schema, where)
        yield from self._combined(value, schema, where, depth)
        if isinstance(value, dict):
            yield from self._object(value, schema, where, depth)
        elif isinstance(value, list | tuple):
            yield from self._array(value, schema, where, depth)

    def _referred(self, reference: str) -> Any:
        if not reference.startswith("#"):
            return {}
        found = self._root
        for part in filter(None, reference[1:].split("/")):
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    def _combined(
        self, value: Any, schema: Mapping[str, Any], where: str, depth: int
    ) -> Iterator[str]:
        for part in _schemas(schema.get("allOf")):
            yield from self.wrong(value, part, where, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            parts = _schemas(schema.get(keyword))
            if not parts:
                continue
            found = [list(islice(self.wrong(value, part, where, depth + 1), 2)) for part in parts]
            fitting = sum(not wrong for wrong in found)
            if not fitting:
                # The alternative of the value's own type says most.
                other = f"{_called(where)} has to be "
                near = [wrong[0] for wrong in found if not wrong[0].startswith(other)]
                yield near[0] if near else " or ".join(dict.fromkeys(w[0] for w in found))
            elif fitting > 1 and keyword == "oneOf":
                yield f"{_called(where)} fits several of the forms it may have only one of"
        if isinstance(schema.get("not"), Mapping) and not any(
            self.wrong(value, schema["not"], where, depth + 1)
        ):
            yield f"{_called(where)} has a form that is not allowed"

    def _object(
        self, value: dict[str, Any], schema: Mapping[str, Any], where: str, depth: int
    ) -> Iterator[str]:
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        for name in _listed(schema.get("required")):
            if isinstance(name, str) and name not in value:
                yield f"{_called(_below(where, name))} is missing"
        others = schema.get("additionalProperties", True)
        for name, item in value.items():
            inner = _below(where, name)
            if name in known:
                yield from self.wrong(item, known[name], inner, depth + 1)
            elif others is False and "patternProperties" not in schema:
                names = ", ".join(known) or "none"
                yield f"there is no {cut(inner, _VALUE_LENGTH)!r}; there are: {names}"
            elif isinstance(others, Mapping):
                yield from self.wrong(item, others, inner, depth + 1)

    def _array(
        self, value: Any, schema: Mapping[str, Any], where: str, depth: int
    ) -> Iterator[str]:
        first = _schemas(schema.get("prefixItems"))
        rest = schema.get("items", True)
        for place, item in enumerate(value):
            part = first[place] if place < len(first) else rest
            if part is False:
                yield f"{_called(where)} has more than {len(first)} items"
                return
            yield from self.wrong(item, part, f"{where}[{place}]", depth + 1)


def _choices(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    allowed = schema.get("enum")
    if isinstance(allowed, list) and not any(same(value, choice) for choice in allowed):
        listed = ", ".join(_shown(choice) for choice in allowed)
        yield f"{_called(where)} has to be one of {listed}, not {_shown(value)}"
    if "const" in schema and not same(value, schema["const"]):
        yield f"{_called(where)} has to be {_shown(schema['const'])}, not {_shown(value)}"


def _bounds(value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
    rules: list[tuple[str, Any, str]] = []
    if isinstance(value, int | float) and not isinstance(value, bool):
        rules = [("minimum", value, "at least"), ("maximum", value, "at most")]
        for keyword, fails in (
            ("exclusiveMinimum", "more than"),
            ("exclusiveMaximum", "less than"),
        ):
            bound = _number(schema.get(keyword))
            if bound is not None and (value <= bound if "Min" in keyword else value >= bound):
                yield f"{_called(where)} has to be {fails} {_shown(bound)}, not {_shown(value)}"
    elif isinstance(value, str):
        rules = [("minLength", len(value), "at least"), ("maxLength", len(value), "at most")]
    elif isinstance(value, list | tuple):
        rules = [("minItems", len(value), "at least"), ("maxItems", len(value), "at most")]
    what = "" if isinstance(value, int | float) else "of length "
    for keyword, size, words in rules:
        bound = _number(schema.get(keyword))
        if bound is not None and (size < bound if keyword.startswith("min") else size > bound):
            yield f"{_called(where)} has to be {what}{words} {_shown(bound)}, not {_shown(size)}"


def _is(value: Any, kind: Any) -> bool:
    if not isinstance(kind, str) or kind not in _TYPES:
        return True
    if isinstance(value, bool):
        return bool(kind == "boolean")
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def _schemas(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _called(where: str) -> str:
    return cut(where, 2 * _VALUE_LENGTH) or "the value"


def _shown(value: Any) -> str:
    try:
        return cut(dump(value).decode(), _VALUE_LENGTH)
    except InvalidRecord:
        return type_name(value)
