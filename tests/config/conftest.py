"""A person's machine in a temporary directory: home, a project in it, and settings read from both."""

from __future__ import annotations

from pathlib import Path

import pytest

from omniagent_cli.config.settings import Settings, load_settings


class Machine:
    """Home and project of one person; nothing outside the temporary directory is read or written."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.project = self.home / "work" / "project"
        self.project.mkdir(parents=True)
        self.user_file = self.home / ".config" / "omniagent" / "config.toml"
        self.project_file = self.project / ".omniagent.toml"
        self.environ = {"HOME": str(self.home)}

    def user(self, text: str) -> None:
        """Write the user's settings file."""
        self.user_file.parent.mkdir(parents=True, exist_ok=True)
        self.user_file.write_text(text, encoding="utf-8")

    def load(self, *, cwd: Path | None = None, **variables: str) -> Settings:
        """Read the settings in the project with some environment variables."""
        return load_settings(self.environ | variables, cwd or self.project)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)
