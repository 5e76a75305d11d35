"""The ``chat`` and ``ask`` commands."""
