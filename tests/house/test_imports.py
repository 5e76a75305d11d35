"""Imports inside the package: no module imports itself through others, in any form of import."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import omniagent_cli

PACKAGE = Path(omniagent_cli.__file__).parent


def module_names():
    """Return the path of every module by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_modules(path, known):
    """Yield the modules of the package that a file imports, in functions and for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full_name = f"{node.module}.{alias.name}"
                if full_name in known:
                    yield full_name
                elif node.module in known:
                    yield node.module


def cycle_in(graph):
    """Return the modules of one import cycle, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_import_cycle():
    """No module of the package imports itself through others; lazy and typing imports count."""
    known = module_names()
    graph = {name: {*imported_modules(path, known)} - {name} for name, path in known.items()}
    assert len(graph) > 300
    assert cycle_in(graph) == []


def test_a_cycle_is_found(tmp_path):
    """The check itself sees a cycle made of a lazy import and one for types."""
    (tmp_path / "a.py").write_text("def f():\n    import b\n")
    (tmp_path / "b.py").write_text("if TYPE_CHECKING:\n    from a import f\n")
    known = {name: tmp_path / f"{name}.py" for name in "ab"}
    graph = {name: set(imported_modules(path, known)) for name, path in known.items()}
    assert sorted(set(cycle_in(graph))) == ["a", "b"]
