"""Format: one row of the table of formats."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Format:
    """One format: name, class and capabilities.

    Attributes:
        target: ``module:Class``, imported on first use.
        writer: ``module:Class`` of the exporter, if it is not the importer's class.
        suffixes: file name suffixes, the usual one first.
        key_sets: a JSON file is in this format when its `key_paths` include all of one of these sets; of several
            matching formats, the one with the largest such set wins.
        pattern: regular expression for the first bytes of a file that is not JSON.
        is_single: a file holds one session; the exporter's ``file_name`` gives the name that the tool expects.
        has_branches: edited and regenerated messages can be imported too; the class takes ``branches=True``.
        has_front_matter: each session can start with a YAML header; the class takes ``front_matter=True``.
    """

    name: str
    target: str
    help: str
    suffixes: tuple[str, ...]
    can_export: bool = True
    can_import: bool = True
    key_sets: tuple[set[str], ...] = ()
    pattern: bytes = b""
    writer: str = ""
    is_single: bool = False
    has_branches: bool = False
    has_front_matter: bool = False

    def load(self, **options: Any) -> Any:
        """Import the class and return an instance."""
        return _instance(self.target, options)

    def load_writer(self, **options: Any) -> Any:
        """Import the class of the exporter and return an instance."""
        return _instance(self.writer or self.target, options)


def _instance(target: str, options: dict[str, Any]) -> Any:
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)(**options)
