"""Backends of other packages: the one in the manual keeps every promise, and is found by its entry point."""

import os
import re
import sys

import pytest

from omniagent_cli import open_store
from omniagent_cli.cli import main
from omniagent_cli.cli.reference.manual import page_text
from omniagent_cli.errors import ConfigError, StoreUnreachable, UsageError
from omniagent_cli.testing import StoreCase, StoreContract
from omniagent_cli.testing.contract_model import ModelContract

PAGE = page_text("backends")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(EXAMPLE,) = (block for block in BLOCKS if "class DictStore" in block)


def example():
    names = {"__name__": "example"}
    exec(EXAMPLE, names)
    return names["DictStore"]


DictStore = example()


@pytest.fixture
def case():
    return StoreCase(lambda place, **options: DictStore(**options), reopens=False)


class TestExample(ModelContract):
    """The example of the page gives the same results as the memory store."""


@pytest.mark.soak
class TestExampleInFull(StoreContract):
    """The example of the page keeps every promise that one handle on a store can keep."""


def test_it_is_short():
    """The example is what it says: a backend in about sixty lines."""
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 60


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install a package with a backend: a module, and what `pip` would leave beside it."""
    site = tmp_path / "site"
    facts = site / "example_store-1.0.dist-info"
    facts.mkdir(parents=True)
    (site / "example_store.py").write_text(EXAMPLE, encoding="utf-8")
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: example-store\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[omniagent.stores]\ndict = example_store:DictStore\nbroken = example_store:Missing\ngone = no_such:Store\n"
    )
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("example_store", None)


def test_found_by_its_entry_point(package):
    """An installed package adds its scheme; `open_store` hands it the options of every store."""
    with open_store("dict://anything", ttl="1h") as store:
        store.append("s", {"role": "user", "content": "hello"})
        assert (store.backend, store.get("s").ttl_seconds) == ("dict", 3600)
        assert store.capabilities.indexed_search is False


def test_commands_use_it(package, capsys, tmp_path):
    """The command line works on it."""
    environ = {"HOME": str(tmp_path)}
    assert main(["--store", "dict://anything", "store", "info"], environ=environ, cwd=tmp_path) == 0
    assert "backend\tdict\n" in capsys.readouterr().out


@pytest.mark.parametrize("scheme", ["broken", "gone"])
def test_one_that_cannot_be_loaded(package, scheme):
    """A backend whose package is damaged is told as that."""
    with pytest.raises(StoreUnreachable, match="reinstall its package"):
        open_store(f"{scheme}://x")


def test_one_that_is_not_installed():
    """A scheme that nobody knows is told with those there are."""
    with pytest.raises(ConfigError, match="unknown store scheme 'dict'"):
        open_store("dict://x")


@pytest.mark.parametrize("url", ["sqlite:///p%00x", "file:///tmp/a%00", "a\0b"])
def test_a_nul_is_in_no_path(url):
    """A URL that no file can have is refused as that."""
    with pytest.raises(ConfigError, match="NUL"):
        open_store(url)


@pytest.mark.parametrize("place", ["memory:", "sqlite", "file"])
def test_an_unknown_option_is_named(tmp_path, place):
    """An option that no store has is an error that names it and the kind of store."""
    url = place if place == "memory:" else f"{place}://{tmp_path}/s"
    with pytest.raises(UsageError, match=rf"unknown option 'trash'.*'{place.rstrip(':')}'"):
        open_store(url, trash="7d")


def test_a_path_of_bytes(tmp_path):
    """A path as bytes, as `os.listdir(b"...")` returns it, names the same file, also if it is not UTF-8."""
    path = os.fsencode(tmp_path) + b"/\xff.db"
    with open_store(path) as store:
        store.append("s", {"role": "user", "content": "a"})
    assert [os.fsencode(file.name) for file in tmp_path.iterdir()] == [b"\xff.db"]


def test_a_scheme_of_sqlalchemy():
    """A URL with a driver of SQLAlchemy is an error with the scheme to use."""
    with pytest.raises(ConfigError, match=r"did you mean sqlite:\?"):
        open_store("sqlite+aiosqlite:///x.db")
