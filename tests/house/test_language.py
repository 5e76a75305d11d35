"""The language of the code: docstrings in plain technical English, no retired names or phrases."""

import ast
import re
import tokenize
from pathlib import Path

import pytest

import omniagent_cli

PACKAGE = Path(omniagent_cli.__file__).parent
TOP = PACKAGE.parent
MODULES = sorted(PACKAGE.rglob("*.py"))

OPENING = re.compile(r"(What|How|Where|Whether|Who)\b")

RETIRED_NAMES = frozenset(
    [
        "Wishes",
        "Answering",
        "Wanted",
        "Agreed",
        "Recent",
        "Shape",
        "Patient",
        "Place",
        "Played",
        "Held",
        "Whole",
        "Diary",
        "Gate",
        "Due",
        "Written",
        "Recoded",
        "Stage",
        "Draft",
        "Tape",
        "Quiet",
        "Opening",
        "Left",
        "GoingOn",
        "News",
        "Unfit",
        "Known",
        "Offer",
        "LooseTranscript",
        "_GrowingAnswer",
        "Concessions",
        "take_up",
        "go_on",
        "give_up",
        "grow",
        "told",
        "meant",
        "agreed",
        "guarded",
        "persistently",
        "misfits",
        "kept_in",
        "patiently",
        "leave_nothing",
        "opens_with",
        "is_closed_book",
        "absorb",
        "unstage",
        "set_aside",
        "remove_from",
    ]
)

PHRASES = re.compile(
    r"\b("
    r"told|tells|is said|goes on|go on with|going on|gone on with|of ours|to have it|let go|put together|"
    r"begins? anew|anew|set aside|withstand\w*|meanwhile|mend(s|ed|ing)?|whoever|nobody|"
    r"what was said|who answers|(?<!there )is no (?!longer|more|other)[a-z]+"
    r")\b",
    re.IGNORECASE,
)


def documented(tree):
    """Yield every module, class and function with its docstring."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield getattr(node, "lineno", 1), text


def defined_names(tree):
    """Yield the names of classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name


def comments(path):
    """Yield the comments of a file."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def strings(tree):
    """Yield the string constants of a file: messages, help, docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def places(found):
    """Return what was found as lines of ``path:line what``."""
    return [f"{path.relative_to(TOP)}:{line} {what}" for path, line, what in found]


def parsed(path):
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def test_docstrings_begin_with_a_noun_or_a_verb():
    """No docstring begins with What, How, Where, Whether or Who."""
    found = [
        (path, line, text.partition("\n")[0])
        for path in MODULES
        for line, text in documented(parsed(path))
        if OPENING.match(text)
    ]
    assert places(found) == []


def test_no_retired_name_is_defined():
    """No class or function has a name that was replaced by the field's word."""
    found = [
        (path, line, name)
        for path in MODULES
        for line, name in defined_names(parsed(path))
        if name in RETIRED_NAMES
    ]
    assert places(found) == []


def test_no_retired_phrase_is_written():
    """Docstrings, messages and comments avoid the phrases that plain English replaced."""
    found = [
        (path, line, match.group())
        for path in MODULES
        for line, text in (*strings(parsed(path)), *comments(path))
        for match in PHRASES.finditer(text)
    ]
    assert places(found) == []


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_no_retired_phrase_is_in_the_pages(page):
    """README and CHANGELOG avoid the same phrases."""
    lines = (TOP / page).read_text(encoding="utf-8").splitlines()
    found = [
        (TOP / page, number, match.group())
        for number, line in enumerate(lines, 1)
        for match in PHRASES.finditer(line)
    ]
    assert places(found) == []
