"""``html``: one self-contained page for a browser, without external resources or scripts."""

from omniagent_cli.formats.writers.html.page import Html

__all__ = ["Html"]
