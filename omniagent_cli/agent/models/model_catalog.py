"""What providers offer: their lists of models, asked for all at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from omniagent_cli.agent.models.discovery import list_models
from omniagent_cli.agent.models.providers import Provider, base_url_for, native_url_for
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
    models: tuple[str, ...] = ()
    error: OmniAgentError | None = None


def listing_url(provider: Provider, given: str | None, environ: Mapping[str, str]) -> str:
    """Return where to ask for a provider's list: on the server that is asked for answers, which alone may have the key.

    Raises:
        ConfigError: the address is not an http or https URL, or holds a password.
    """
    native = native_url_for(provider, given, environ=environ) if provider.openai_compatible else ""
    if not native or native == provider.native_url:
        return base_url_for(provider, given, environ=environ)
    return native + provider.base_url.removeprefix(provider.native_url)


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
        models = list_models(
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
