"""Tools a model may call: definitions, permissions, execution and results."""
