"""Store operations, grouped by what they do."""
