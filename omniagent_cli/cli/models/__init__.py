"""The ``models`` commands."""
