"""Session ids of a Conversations store for completion: its map is a SQLite file."""

from omniagent_cli.stores.backends.sqlite.ids import session_ids, tags, values

__all__ = ["session_ids", "tags", "values"]
