"""Formats that are both exported and imported."""
