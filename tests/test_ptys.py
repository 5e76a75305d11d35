"""The number of tests that need a pty: each costs the start of a process and waits for a screen."""

import ast
from pathlib import Path

TESTS = Path(__file__).parent
ON_A_PTY = ("TerminalProgram(", "home.open(", "home.start(", "some.start(", "person_at_pty(")


def test_at_most_twenty_five_tests_use_a_pty():
    """Only signals, job control, echo and windows that change need a pty; a pipe shows everything else."""
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.splitlines()
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                body = "\n".join(lines[node.lineno - 1 : node.end_lineno])
                if path != Path(__file__) and any(use in body for use in ON_A_PTY):
                    found.append(f"{path.relative_to(TESTS)}::{node.name}")
    assert len(found) <= 25, found
