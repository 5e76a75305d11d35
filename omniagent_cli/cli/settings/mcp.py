"""`omniagent mcp`: serve the sessions to other programs."""

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
        bool, typer.Option("--allow-write", help="allow the client to set metadata")
    ] = False,
    allow_delete: Annotated[
        bool, typer.Option("--allow-delete", help="allow the client to clear and delete sessions")
    ] = False,
) -> None:
    """Serve your sessions to another program, over the Model Context Protocol on stdin and stdout.

    The program starts it; most have a settings file that accepts:

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
    _check_key(store, writes=allow_write or allow_delete)
    if context.terminal.reads_terminal:
        context.terminal.note(
            "Waiting for a client on stdin. Clients start this command themselves; see: omniagent mcp --help"
        )
    service = mcp_server.serve(store, allow_write=allow_write, allow_delete=allow_delete)
    try:
        asyncio.run(_until_terminated(service))
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OmniAgentError(f"cannot write to the client: {error.strerror or error}") from error


def _check_key(store: SessionStore, *, writes: bool) -> None:
    """Check that content can be read and written, before the server accepts requests.

    Raises:
        EncryptedStore: the store is encrypted and no key is set, or the reverse.
        DecryptionError: the key is wrong.
    """
    store.unlock()
    encrypted = store.encryption() is not None
    if encrypted or writes:
        store.check_key()
    if encrypted and not store.has_key:
        raise EncryptedStore(
            f"the store {store.url} is encrypted; give its key: set store.key_file, or"
            " OMNIAGENT_ENCRYPTION_KEY[_FILE] in the env of the client's settings"
        )


async def _until_terminated(service: Coroutine[None, None, None]) -> None:
    """Serve until SIGTERM or Ctrl-C; both stop the server cleanly."""
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
