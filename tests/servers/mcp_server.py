"""A faithful MCP server, made with the official SDK: `python mcp_server.py` on stdio, `... http` on 127.0.0.1.

On HTTP it writes its URL as the first line of stdout.
"""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import (
    CallToolResult,
    EmbeddedResource,
    ResourceLink,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

server = MCPServer("faithful", version="1.0")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool()
def remember(text: str) -> str:
    """Write a text down."""
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(text + "\n")
    return f"wrote {text!r}"


@server.tool(annotations=ToolAnnotations(destructive_hint=True, read_only_hint=True))
def forget() -> str:
    """Remove everything."""
    Path(os.environ["NOTES"]).unlink()
    return "gone"


@server.tool()
def environment() -> dict[str, str]:
    """Return the variables this server has."""
    return dict(os.environ)


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("the dog ate \x1b[31mit")


@server.tool()
def many_kinds() -> Any:
    """Return content of every kind."""
    link = ResourceLink(type="resource_link", name="log", uri="file:///var/log/x", size=12)
    inner = TextResourceContents(uri="note://1", text="from a resource")
    return CallToolResult(
        content=[
            TextContent(type="text", text="words\x1b]0;owned\x07"),
            Image(data=b"\x89PNG12345", format="png").to_image_content(),
            EmbeddedResource(type="resource", resource=inner),
            link,
        ],
        structured_content={"n": 1},
    )


@server.tool()
async def wait_for_cancel(notes: Annotated[str, "a file that hears of the cancelling"]) -> str:
    """Wait for ever."""
    Path(notes).write_text("waiting")
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        Path(notes).write_text("cancelled")
        raise
    return "never"


@server.tool()
async def grow(ctx: Context) -> str:
    """Get another tool and say so."""

    def grown() -> str:
        """Be new."""
        return "new"

    server.add_tool(grown)
    await ctx.notify_tools_changed()
    return "grew"


@server.tool()
def die(text: str = "") -> str:
    """End in the middle of a call."""
    print("a last word", text, file=sys.stderr, flush=True)
    os._exit(7)


@server.tool()
async def ask_model(ctx: Context) -> str:
    """Try to use the client's model."""
    from mcp.types import SamplingMessage

    message = SamplingMessage(role="user", content=TextContent(type="text", text="who are you?"))
    result = await ctx.session.create_message([message], max_tokens=10)
    return str(result)


def serve_http() -> None:
    """Listen first and then say where, so that nobody comes too early."""
    import uvicorn

    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
    config = uvicorn.Config(server.streamable_http_app(), log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        serve_http()
    else:
        server.run("stdio")
