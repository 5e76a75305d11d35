"""Maintenance of a whole store: check, repair, rekey."""
