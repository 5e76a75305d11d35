"""The ``config``, ``keys``, ``tools``, ``mcp`` and ``completion`` commands."""
