"""Formats for import and export."""
