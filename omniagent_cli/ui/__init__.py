"""Terminal output: tables, streaming answers, progress, pager."""
