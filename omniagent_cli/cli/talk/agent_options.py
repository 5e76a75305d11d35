"""The options of the command line that decide on the model, the system prompt and the tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """The options of one command for its agent.

    Attributes:
        model: ``provider:name``, an alias, or None to choose one.
        system: the system prompt, or ``@FILE``; None for the configured one.
        offline: use models on this machine only.
        schema: the JSON schema that the answer must follow.
        tools: False offers no tools.
        only_tools: the tools and skills to offer; None for all.
        origin: the origin of a session that the agent creates; see `Session.origin`.
        yes_tools: tools and skills that may write and delete without confirmation.
    """

    model: str | None = None
    system: str | None = None
    offline: bool = False
    schema: Mapping[str, Any] | None = None
    tools: bool = True
    only_tools: frozenset[str] | None = None
    yes_tools: frozenset[str] = frozenset()
    origin: Mapping[str, str] = field(default_factory=dict)
