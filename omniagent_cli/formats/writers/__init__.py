"""Formats that are only exported."""
