"""Adapters whose library is not installed."""

import importlib
import sys

import pytest


@pytest.mark.parametrize(
    ("adapter", "library", "extra"),
    [
        ("google_adk", "google.adk.errors.already_exists_error", "google-adk"),
        ("langgraph", "langgraph.checkpoint.base", "langgraph"),
        ("pydantic_ai", "pydantic_ai.messages", "providers"),
    ],
)
def test_the_error_names_the_extra(adapter, library, extra, monkeypatch):
    """Importing an adapter without its library raises an error with the command that installs it."""
    monkeypatch.delitem(sys.modules, f"omniagent_cli.adapters.{adapter}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModuleNotFoundError, match=rf"pip install 'omniagent-cli\[{extra}\]'"):
        importlib.import_module(f"omniagent_cli.adapters.{adapter}")
