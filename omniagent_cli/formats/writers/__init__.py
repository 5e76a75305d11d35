"""Formats for export only."""
