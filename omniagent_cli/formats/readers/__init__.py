"""Readers for the histories of other tools, one module per tool."""
