"""The JSON-file store: a directory of logs, one a session."""
