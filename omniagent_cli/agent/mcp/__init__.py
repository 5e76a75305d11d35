"""MCP servers as skills: programs and addresses of the settings whose tools the model may call.

The protocol is the official SDK's (``pip install 'omniagent-cli[mcp]'``), which is loaded when a server is started.
What a server says of itself and answers is a stranger's text: bounded, cleaned, and never a reason to skip an approval.
"""
