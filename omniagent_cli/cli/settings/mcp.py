"""`omniagent mcp`: the sessions for other programs."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

from omniagent_cli.cli.framework.context import current_context
from omniagent_cli.cli.framework.exits import Terminated
from omniagent_cli.errors import EncryptedStore, OmniAgentError, UsageError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from omniagent_cli.stores import SessionStore


def serve(
    ctx: typer.Context,
    *,
    allow_write: Annotated[
        bool, typer.Option("--allow-write", help="let the client set metadata")
    ] = False,
    allow_delete: Annotated[
        bool, typer.Option("--allow-delete", help="let the client clear and delete sessions")
    ] = False,
) -> None:
    """Let another program read your sessions, over the Model Context Protocol on stdin and stdout.

    The program starts it; in the settings of most:

    {"mcpServers": {"omniagent": {"command": "omniagent", "args": ["mcp"]}}}

    It has the tools sessions_list, sessions_history, sessions_get, sessions_metadata_get and sessions_search, and
    each session as a resource.
    """
    context = current_context(ctx)
    try:
        from omniagent_cli.adapters import mcp_server, mcp_wire
    except ImportError as error:
        raise UsageError(
            "'omniagent mcp' needs the MCP library; install it with: pip install 'omniagent-cli[mcp]'"
        ) from error
    mcp_wire.check_streams()
    store = context.store_to_create if allow_write else context.store
    _check_key(store)
    if context.terminal.reads_terminal:
        context.terminal.note(
            "waiting for a client on stdin; clients start this themselves, see: omniagent mcp --help"
        )
    service = mcp_server.serve(store, allow_write=allow_write, allow_delete=allow_delete)
    try:
        asyncio.run(_until_terminated(service))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OmniAgentError(f"cannot write to the client: {error.strerror or error}") from error


def _check_key(store: SessionStore) -> None:
    """Make sure that content can be read, before a client is told that all is well.

    Raises:
        EncryptedStore: it is encrypted, and nobody gave the key.
        DecryptionError: the key is another one.
    """
    store.unlock()
    store.check_key()
    if store.encryption() is not None and not store.has_key:
        raise EncryptedStore(
            f"the store {store.url} is encrypted; give its key: set store.key_file, or"
            " OMNIAGENT_ENCRYPTION_KEY[_FILE] in the env of the client's settings"
        )


async def _until_terminated(service: Coroutine[None, None, None]) -> None:
    """Serve; a SIGTERM ends it as Ctrl-C does, instead of breaking into whatever runs."""
    task = asyncio.current_task()
    terminated: list[bool] = []

    def end() -> None:
        terminated.append(True)
        if task is not None:
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        await service
    except asyncio.CancelledError:
        if terminated:
            raise Terminated from None
        raise
