"""``html``: conversations as one page to read in a browser, with nothing loaded from elsewhere and no script."""

from omniagent_cli.formats.writers.html.page import Html

__all__ = ["Html"]
