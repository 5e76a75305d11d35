"""omniagent: chat with any language model from a terminal or from Python; every conversation is saved.

The names of the library, each loaded when it is first used::

    from omniagent_cli import Agent, open_store
"""

from __future__ import annotations

# Not from typing, which costs as much as a bare interpreter: --version and TAB come through here.
TYPE_CHECKING = False

_PUBLIC = {
    "__version__": "omniagent_cli._version",
    "DEFAULT_SESSION_TTL": "omniagent_cli.stores",
    "SessionStore": "omniagent_cli.stores",
    "open_store": "omniagent_cli.stores",
    "Passphrase": "omniagent_cli.stores",
    "SessionEvent": "omniagent_cli.stores.events",
    "with_compression": "omniagent_cli.stores",
    "with_encryption": "omniagent_cli.stores",
    "MigrationReport": "omniagent_cli.stores.transfer.migrate",
    "migrate": "omniagent_cli.stores.transfer.migrate",
    "SyncReport": "omniagent_cli.stores.sync.driver",
    "sync": "omniagent_cli.stores.sync.driver",
    "Message": "omniagent_cli.models",
    "Session": "omniagent_cli.models",
    "SessionSummary": "omniagent_cli.models",
    "Agent": "omniagent_cli.agent.agent",
    "attach": "omniagent_cli.agent.context.attachments",
    "McpServer": "omniagent_cli.agent.mcp.server",
    "McpSkill": "omniagent_cli.agent.mcp.skill",
    "ModelSettings": "omniagent_cli.agent.events",
    "SessionsSkill": "omniagent_cli.agent.tools.session_skill",
    "Skill": "omniagent_cli.agent.tools.skill",
    "Tool": "omniagent_cli.agent.tools.tool",
    "ToolContext": "omniagent_cli.agent.tools.context",
    "Window": "omniagent_cli.agent.context.window",
    "Rollover": "omniagent_cli.agent.context.rollover",
    "CompactionResult": "omniagent_cli.agent.context.compaction",
    "tool": "omniagent_cli.agent.tools.tool",
    "errors": "omniagent_cli",
}

if TYPE_CHECKING:
    from typing import Any

    from omniagent_cli import errors
    from omniagent_cli._version import __version__
    from omniagent_cli.agent.agent import Agent
    from omniagent_cli.agent.context.attachments import attach
    from omniagent_cli.agent.context.compaction import CompactionResult
    from omniagent_cli.agent.context.rollover import Rollover
    from omniagent_cli.agent.context.window import Window
    from omniagent_cli.agent.events import ModelSettings
    from omniagent_cli.agent.mcp.server import McpServer
    from omniagent_cli.agent.mcp.skill import McpSkill
    from omniagent_cli.agent.tools.context import ToolContext
    from omniagent_cli.agent.tools.session_skill import SessionsSkill
    from omniagent_cli.agent.tools.skill import Skill
    from omniagent_cli.agent.tools.tool import Tool, tool
    from omniagent_cli.models import Message, Session, SessionSummary
    from omniagent_cli.stores import (
        DEFAULT_SESSION_TTL,
        Passphrase,
        SessionStore,
        open_store,
        with_compression,
        with_encryption,
    )
    from omniagent_cli.stores.events import SessionEvent
    from omniagent_cli.stores.sync.driver import SyncReport, sync
    from omniagent_cli.stores.transfer.migrate import MigrationReport, migrate

__all__ = [
    "DEFAULT_SESSION_TTL",
    "Agent",
    "CompactionResult",
    "McpServer",
    "McpSkill",
    "Message",
    "MigrationReport",
    "ModelSettings",
    "Passphrase",
    "Rollover",
    "Session",
    "SessionEvent",
    "SessionStore",
    "SessionSummary",
    "SessionsSkill",
    "Skill",
    "SyncReport",
    "Tool",
    "ToolContext",
    "Window",
    "__version__",
    "attach",
    "errors",
    "migrate",
    "open_store",
    "sync",
    "tool",
    "with_compression",
    "with_encryption",
]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _PUBLIC:
        raise AttributeError(f"module 'omniagent_cli' has no attribute {name!r}")
    if name == "errors":
        return import_module("omniagent_cli.errors")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
