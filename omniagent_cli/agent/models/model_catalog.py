"""What providers offer: their lists of models, asked for all at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from omniagent_cli.agent.models.model_listing import ListedModel, list_entries
from omniagent_cli.agent.models.providers import Provider
from omniagent_cli.errors import ModelUnreachable, OmniAgentError

ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Source:
    """Whom to ask, where, and with which key.

    Attributes:
        origin: why it can be used: where its key is, or its address.
    """

    provider: Provider
    base_url: str
    origin: str
    api_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Offer:
    """What one of them answered; `error` when it did not."""

    source: Source
    models: tuple[ListedModel, ...] = ()
    error: OmniAgentError | None = None


def ask_all(sources: Sequence[Source], *, timeout_seconds: float = ASK_SECONDS) -> list[Offer]:
    """Ask everybody at once; who is slow or fails holds nobody else up.

    Returns:
        An offer for each source, in their order.
    """
    found: dict[int, Offer] = {}
    deadline = time.monotonic() + timeout_seconds

    def ask(number: int, source: Source) -> None:
        found[number] = _asked(source, timeout_seconds)

    # Daemons: a server that drips its answer must not hold up the end of the program.
    threads = [threading.Thread(target=ask, args=pair, daemon=True) for pair in enumerate(sources)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    answered = found.copy()
    return [
        answered.get(number) or _too_slow(source, timeout_seconds)
        for number, source in enumerate(sources)
    ]


def _asked(source: Source, timeout_seconds: float) -> Offer:
    try:
        models = list_entries(
            source.provider,
            base_url=source.base_url,
            api_key=source.api_key,
            timeout_seconds=timeout_seconds,
        )
    except OmniAgentError as error:
        return Offer(source, error=error)
    return Offer(source, tuple(models))


def _too_slow(source: Source, timeout_seconds: float) -> Offer:
    told = f"{source.provider.title} sent no list of models within {timeout_seconds:g} s; try again"
    return Offer(source, error=ModelUnreachable(told))
