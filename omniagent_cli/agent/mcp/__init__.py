"""MCP servers as skills: configured programs and URLs whose tools the model may call.

The protocol is implemented by the official SDK (``pip install 'omniagent-cli[mcp]'``), loaded when a server starts.
Descriptions and results of a server are untrusted text: bounded, sanitized, and never a reason to skip an approval.
"""
