"""Generated reference: help, manual page, completion table, JSON shapes."""
