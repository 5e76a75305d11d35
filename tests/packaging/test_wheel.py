"""What is handed out: the wheel and the sdist, what is in them, and what they say of themselves."""

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

import omniagent_cli
from tests.packaging.building import TOP, needed, wheel_files
from tests.sandbox import REAL_HOME

KINDS = (".md", ".py", ".1", "/py.typed", "/line.schema.json")
SHARED = {
    "share/bash-completion/completions/omniagent": "completions/omniagent.bash",
    "share/fish/vendor_completions.d/omniagent.fish": "completions/omniagent.fish",
    "share/zsh/site-functions/_omniagent": "completions/_omniagent",
    "share/man/man1/omniagent.1": "omniagent_cli/man/omniagent.1",
}
"""Where shells and 'man' look, and what lies there."""


def _version():
    return f"omniagent_cli-{omniagent_cli.__version__}"


def _ours():
    """Return the names of the package's own files in this tree."""
    files = (TOP / "omniagent_cli").rglob("*")
    names = {f"{file.relative_to(TOP)}" for file in files if file.is_file()}
    return {name for name in names if name.endswith(KINDS)}


def test_the_wheel_holds_the_package_and_nothing_else(built):
    """Every module, the types' mark, the manual, completions where the package and shells find them, the licence; no stray file."""
    names = set(built.wheel_files())
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    scripts = {f"omniagent_cli/completions/{file.name}" for file in (TOP / "completions").iterdir()}
    data = {f"{_version()}.data/data/{name}" for name in SHARED}
    expected = _ours() | scripts | data | {f"{_version()}.dist-info/{name}" for name in about}
    assert names == expected
    assert "omniagent_cli/py.typed" in names
    assert len(scripts) == 4


def test_shells_and_man_find_what_is_in_this_tree(built):
    """What lies where bash, zsh, fish and man look is what 'completion show' prints, and the manual."""
    files = built.wheel_files()
    for name, source in SHARED.items():
        text = (TOP / source).read_bytes()
        assert files[f"{_version()}.data/data/{name}"] == text
        assert (
            files[source if source.startswith("omniagent") else f"omniagent_cli/{source}"] == text
        )


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_tree(built):
    """Who builds from the sdist gets the same files, byte for byte."""
    assert built.wheel.name == built.again.name == f"{_version()}-py3-none-any.whl"
    assert wheel_files(built.again) == built.wheel_files()


def test_the_sdist_holds_what_its_tests_and_its_ci_need(built):
    """Sources, tests, completions, papers and the files of CI; nothing that a tool left behind."""
    names = set(built.sdist_files())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {
        ".ci", ".github", ".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", "README.md",
        "completions", "docs", "omniagent_cli", "pyproject.toml", "tests",
    }  # fmt: skip
    assert _ours() <= names
    assert {
        "tests/__main__.py",
        "tests/conftest.py",
        ".ci/run",
        ".github/workflows/ci.yml",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db"))]


def test_no_path_of_a_machine_is_handed_out(built):
    """Neither the directory it was built in, nor its owner's home, nor its Python."""
    places = [str(TOP), str(REAL_HOME), sys.prefix, sys.base_prefix]
    private = [f"{place}/".encode() for place in places if len(Path(place).parts) > 2]
    everything = built.wheel_files() | built.sdist_files()
    assert private
    assert [
        name for name, data in everything.items() if any(place in data for place in private)
    ] == []


def test_the_wheel_says_what_it_is(built):
    """Its name, version, licence, Python, summary and README; no address, for there is none."""
    about = built.about()
    assert about["Name"] == "omniagent-cli"
    assert about["Version"] == omniagent_cli.__version__
    assert about["Requires-Python"] == ">=3.11"
    assert about["License-Expression"] == "MIT"
    assert about["License-File"] == "LICENSE"
    assert "Typing :: Typed" in about.get_all("Classifier")
    assert about["Description-Content-Type"] == "text/markdown"
    assert about.get_payload().startswith("# omniagent\n")
    assert about.get_all("Project-URL") is None
    files = built.wheel_files()
    points = files[f"{_version()}.dist-info/entry_points.txt"].decode()
    assert "omniagent = omniagent_cli.__main__:main" in points.splitlines()


def test_the_test_extra_has_what_the_others_have():
    """A library that an extra brings is tested with the same bounds as it is installed with."""
    extras = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    tested = set(extras.pop("test"))
    untested = {line for lines in extras.values() for line in lines} - tested
    assert untested == {"keyring>=25"}  # its tests bring a keyring of their own


def _imported():
    """Return the names of the libraries that any function of the package imports, and in which files."""
    found = {}
    for file in (TOP / "omniagent_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            modules = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module]
            for module in modules:
                found.setdefault(module.partition(".")[0], set()).add(file.relative_to(TOP))
    here = sys.stdlib_module_names | {"omniagent_cli", "compression"}  # from 3.14 on
    return {name: files for name, files in found.items() if name not in here}


def test_every_library_that_is_imported_is_brought(built):
    """The wheel or one of its extras needs it, so that none is there only because tests are."""
    extras = set(built.about().get_all("Provides-Extra")) - {"test", "keyring"}  # not here
    brought = needed(built, *extras)
    homes = metadata.packages_distributions()
    own = {"openai_agents.py": {"agents"}}  # for those who have that library
    for name, files in _imported().items():
        if not brought & {canonicalize_name(home) for home in homes[name]}:
            for file in files:
                contract = {"pytest", "hypothesis"} if file.name.startswith("contract") else set()
                assert name in own.get(file.name, contract), f"{file} imports {name}"
