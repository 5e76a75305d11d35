"""The ``sessions`` commands."""
