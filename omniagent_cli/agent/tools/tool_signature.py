"""The JSON schema of a typed function's arguments, and the conversion of JSON arguments to Python values."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

from omniagent_cli.agent.json_schema import argument_errors
from omniagent_cli.agent.tools.context import ToolContext
from omniagent_cli.errors import InvalidRecord, UsageError
from omniagent_cli.json_format import dump

Read = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class ArgumentType:
    """The JSON schema of a type, and the conversion of valid JSON values."""

    schema: Mapping[str, Any]
    read: Read = lambda value: value


@dataclass(frozen=True, slots=True)
class Signature:
    """The signature of a function.

    Attributes:
        parameters: the JSON schema of the arguments, an object.
        description: the docstring before its sections.
        read: converts valid arguments to Python values.
        context: the parameter that receives the `ToolContext`; empty if there is none.
    """

    parameters: Mapping[str, Any]
    description: str
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    context: str = ""


class _UnsupportedType(Exception):
    """A type without a JSON equivalent; the message gives the reason."""


def signature_of(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function as a model needs it.

    Raises:
        UsageError: a parameter has no type, or a type without a JSON equivalent.
    """
    name = getattr(function, "__name__", None) or type(function).__name__
    hints = _hints(function, name)
    description, documented = docstring_parts(inspect.getdoc(_documented(function)) or "")
    definitions: dict[str, Any] = {}
    argument_types: dict[str, ArgumentType] = {}
    required, context = [], ""
    for parameter in _parameters(function, name):
        if hints.get(parameter.name) in (ToolContext, ToolContext | None):
            context = parameter.name
            continue
        try:
            argument_type = _parameter(parameter, hints, definitions)
        except _UnsupportedType as error:
            raise UsageError(
                f"{name} cannot be a tool: parameter {parameter.name} {error}"
            ) from None
        if text := documented.get(parameter.name):
            argument_type = ArgumentType(
                {"description": text, **argument_type.schema}, argument_type.read
            )
        argument_types[parameter.name] = argument_type
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema = _object(
        {key: argument_type.schema for key, argument_type in argument_types.items()}, required
    )
    if definitions:
        schema["$defs"] = definitions

    def read(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {key: argument_types[key].read(value) for key, value in arguments.items()}

    return Signature(schema, description, read, context)


def context_parameter(function: Callable[..., Any]) -> str:
    """Return the parameter that receives the `ToolContext`, without resolving other types; empty if there is none."""
    target = _documented(function)
    for name, hint in getattr(target, "__annotations__", {}).items():
        if hint is ToolContext or (isinstance(hint, str) and hint.split(".")[-1] == "ToolContext"):
            return str(name)
    return ""


_SECTIONS = (
    "args", "arguments", "parameters", "returns", "return", "yields", "raises", "attributes", "example", "examples",
    "note", "notes", "see also", "todo", "warning", "warnings",
)  # fmt: skip
_ENTRY = re.compile(r"(\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)")


def docstring_parts(doc: str) -> tuple[str, dict[str, str]]:
    """Split a Google-style docstring into the text before its sections and the description of each argument."""
    before: list[str] = []
    texts: dict[str, list[str]] = {}
    section, indent, current = "", 0, ""
    for line in doc.splitlines():
        text = line.strip()
        if not line.startswith((" ", "\t")) and text[:-1].lower() in _SECTIONS and text[-1] == ":":
            section, indent, current = text[:-1].lower(), 0, ""
        elif not section:
            before.append(line)
        elif section in ("args", "arguments", "parameters") and text:
            depth = len(line) - len(line.lstrip())
            indent = indent or depth
            entry = _ENTRY.fullmatch(text) if depth <= indent else None
            if entry:
                current = entry[1].lstrip("*")
                texts[current] = [entry[2]]
            elif current:
                texts[current].append(text)
    return "\n".join(before).strip(), {
        name: " ".join(lines).strip() for name, lines in texts.items()
    }


def _documented(function: Callable[..., Any]) -> Any:
    """Return the object with the docstring and the types: the function of a partial, the ``__call__`` of an object."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function) or inspect.isclass(function):
        return function
    return type(function).__call__


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    target = _documented(function)
    try:
        return typing.get_type_hints(target, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        raise UsageError(f"{name} cannot be a tool: cannot resolve its types: {error}") from error


def _parameters(function: Callable[..., Any], name: str) -> Iterable[inspect.Parameter]:
    try:
        return inspect.signature(function).parameters.values()
    except ValueError as error:
        raise UsageError(f"{name} cannot be a tool: {error}") from error


def _parameter(
    parameter: inspect.Parameter, hints: Mapping[str, Any], definitions: dict[str, Any]
) -> ArgumentType:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise _UnsupportedType("is variadic; declare each value, or take a list")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise _UnsupportedType("is positional-only, and models pass arguments by name")
    if parameter.name not in hints:
        raise _UnsupportedType("has no type; annotate it")
    argument_type = _argument_type(hints[parameter.name], definitions, ())
    if parameter.default is parameter.empty:
        return argument_type
    if parameter.default is None and not _accepts_null(argument_type.schema):
        argument_type = _union([argument_type, _NULL])  # def f(x: str = None)
    return ArgumentType({**argument_type.schema, **_default(parameter.default)}, argument_type.read)


def _accepts_null(schema: Mapping[str, Any]) -> bool:
    if "enum" in schema:
        return None in schema["enum"]
    if "anyOf" in schema:
        return any(map(_accepts_null, schema["anyOf"]))
    types = schema.get("type", "object" if "$ref" in schema else "null")
    return "null" in ([types] if isinstance(types, str) else types)


def _default(value: Any) -> dict[str, Any]:
    """Return the default for the schema, if JSON can represent it."""
    value = value.value if isinstance(value, Enum) else value
    try:
        dump(value)
    except InvalidRecord:
        return {}
    return {"default": value}


_NULL = ArgumentType({"type": "null"})
_BUILT_IN_TYPES: dict[Any, ArgumentType] = {
    str: ArgumentType({"type": "string"}),
    int: ArgumentType({"type": "integer"}, int),
    float: ArgumentType({"type": "number"}, float),
    bool: ArgumentType({"type": "boolean"}),
    None: _NULL,
    type(None): _NULL,
    Any: ArgumentType({}),
    object: ArgumentType({}),
    list: ArgumentType({"type": "array"}),
    dict: ArgumentType({"type": "object"}),
    tuple: ArgumentType({"type": "array"}, tuple),
    set: ArgumentType({"type": "array"}, set),
    frozenset: ArgumentType({"type": "array"}, frozenset),
}
_COLLECTIONS: dict[Any, Callable[[Iterable[Any]], Any]] = {
    list: list, Sequence: list, Iterable: list, Collection: list,
    set: set, frozenset: frozenset, AbstractSet: set,
}  # fmt: skip


def _argument_type(hint: Any, definitions: dict[str, Any], outer: tuple[Any, ...]) -> ArgumentType:
    """Return the JSON form of a type; `outer` are the classes that contain it."""
    try:
        if plain := _BUILT_IN_TYPES.get(hint):
            return plain
    except TypeError:  # Literal[[]] and other invalid types
        raise _UnsupportedType(f"has the invalid type {hint!r}") from None
    if hasattr(hint, "__supertype__"):
        return _argument_type(hint.__supertype__, definitions, outer)
    if type(hint).__name__ == "TypeAliasType":
        return _argument_type(hint.__value__, definitions, outer)
    if get_origin(hint) is not None:
        return _generic(hint, definitions, outer)
    if isinstance(hint, type):
        return _class(hint, definitions, outer)
    raise _UnsupportedType(f"has the type {hint!r}, which has no JSON equivalent")


def _generic(hint: Any, definitions: dict[str, Any], outer: tuple[Any, ...]) -> ArgumentType:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _choice({choice: choice for choice in inner})
    if origin in (Union, types.UnionType):
        return _union([_argument_type(part, definitions, outer) for part in inner])
    if origin in (Annotated, Required, NotRequired):
        argument_type = _argument_type(inner[0], definitions, outer)
        texts = [note for note in inner[1:] if isinstance(note, str)]
        return (
            ArgumentType({**argument_type.schema, "description": texts[0]}, argument_type.read)
            if texts
            else argument_type
        )
    if origin in _COLLECTIONS:
        item = _argument_type(inner[0], definitions, outer)
        make = _COLLECTIONS[origin]
        return ArgumentType(
            {"type": "array", "items": item.schema},
            lambda value: make(item.read(part) for part in value),
        )
    if origin is tuple:
        return _tuple(inner, definitions, outer)
    if origin in (dict, Mapping):
        if inner[0] is not str:
            raise _UnsupportedType("has keys that are not strings, which JSON does not support")
        item = _argument_type(inner[1], definitions, outer)
        return ArgumentType(
            {"type": "object", "additionalProperties": item.schema},
            lambda value: {key: item.read(part) for key, part in value.items()},
        )
    raise _UnsupportedType(f"has the type {hint!r}, which has no JSON equivalent")


def _class(hint: type, definitions: dict[str, Any], outer: tuple[Any, ...]) -> ArgumentType:
    if issubclass(hint, Enum):
        return _choice({member.value: member for member in hint})
    if hint in outer:
        raise _UnsupportedType(f"has the type {hint.__name__}, which contains itself")
    if typing.is_typeddict(hint):
        return _typed_dict(hint, definitions, (*outer, hint))
    if dataclasses.is_dataclass(hint):
        return _dataclass(hint, definitions, (*outer, hint))
    if hasattr(hint, "model_json_schema") and hasattr(hint, "model_validate"):
        return _pydantic(hint, definitions)
    raise _UnsupportedType(
        f"has the type {hint.__name__}, which has no JSON equivalent; take str, for example"
    )


def _choice(choices: Mapping[Any, Any]) -> ArgumentType:
    values = list(choices)
    if not all(value is None or isinstance(value, str | int | float) for value in values):
        raise _UnsupportedType("has choices that have no JSON equivalent")

    def read(value: Any) -> Any:
        # In JSON, unlike in Python, true is not equal to 1.
        same_type = (c for c in choices if isinstance(c, bool) is isinstance(value, bool))
        return next(choices[choice] for choice in same_type if choice == value)

    argument_types = {"string" if isinstance(value, str) else "" for value in values}
    return ArgumentType(
        ({"type": "string"} if argument_types == {"string"} else {}) | {"enum": values}, read
    )


def _union(argument_types: list[ArgumentType]) -> ArgumentType:
    def read(value: Any) -> Any:
        return next(
            (k for k in argument_types if not argument_errors(value, k.schema)), argument_types[0]
        ).read(value)

    names = [
        argument_type.schema.get("type")
        for argument_type in argument_types
        if set(argument_type.schema) == {"type"}
    ]
    if len(names) == len(argument_types):
        return ArgumentType({"type": names}, read)
    return ArgumentType({"anyOf": [argument_type.schema for argument_type in argument_types]}, read)


def _tuple(
    inner: tuple[Any, ...], definitions: dict[str, Any], outer: tuple[Any, ...]
) -> ArgumentType:
    if len(inner) == 2 and inner[1] is Ellipsis:
        item = _argument_type(inner[0], definitions, outer)
        schema: dict[str, Any] = {"type": "array", "items": item.schema}
        return ArgumentType(schema, lambda value: tuple(item.read(part) for part in value))
    items = [_argument_type(part, definitions, outer) for part in inner]
    count = {"minItems": len(items), "maxItems": len(items)}
    schema = {"type": "array", "prefixItems": [item.schema for item in items], **count}
    return ArgumentType(
        schema, lambda value: tuple(k.read(part) for k, part in zip(items, value, strict=True))
    )


def _typed_dict(hint: Any, definitions: dict[str, Any], outer: tuple[Any, ...]) -> ArgumentType:
    hints = typing.get_type_hints(hint, include_extras=True)
    argument_types = {
        name: _argument_type(part, definitions, outer) for name, part in hints.items()
    }
    # With postponed annotations, __required_keys__ ignores Required and NotRequired.
    needed = {name for name, part in hints.items() if get_origin(part) is Required}
    needed |= {n for n in hint.__required_keys__ if get_origin(hints[n]) is not NotRequired}
    schema = _object(
        {name: argument_type.schema for name, argument_type in argument_types.items()}, needed
    )
    return ArgumentType(
        schema,
        lambda value: {name: argument_types[name].read(part) for name, part in value.items()},
    )


def _dataclass(hint: Any, definitions: dict[str, Any], outer: tuple[Any, ...]) -> ArgumentType:
    hints = typing.get_type_hints(hint, include_extras=True)
    fields = [field for field in dataclasses.fields(hint) if field.init]
    argument_types = {
        field.name: _argument_type(hints[field.name], definitions, outer) for field in fields
    }
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    schema = _object(
        {name: argument_type.schema for name, argument_type in argument_types.items()}, required
    )
    return ArgumentType(
        schema,
        lambda value: hint(
            **{name: argument_types[name].read(part) for name, part in value.items()}
        ),
    )


def _pydantic(model: Any, definitions: dict[str, Any]) -> ArgumentType:
    schema = model.model_json_schema()
    for name, definition in schema.pop("$defs", {}).items():
        if definitions.setdefault(name, definition) != definition:
            raise _UnsupportedType(f"needs a second type named {name}; rename one of them")
    return ArgumentType(schema, model.model_validate)


def _object(properties: Mapping[str, Any], required: Iterable[str]) -> dict[str, Any]:
    needed = [name for name in properties if name in set(required)]
    schema: dict[str, Any] = {"type": "object", "properties": dict(properties)}
    return schema | ({"required": needed} if needed else {}) | {"additionalProperties": False}
