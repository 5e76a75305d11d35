"""The ``store`` commands."""
