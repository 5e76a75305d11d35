"""From settings and options to an agent: who answers, why, and what it is told first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from omniagent_cli.agent.agent import Agent
from omniagent_cli.agent.context.files import read_system_prompt
from omniagent_cli.agent.context.rollover import Rollover
from omniagent_cli.agent.context.titles import CURRENT, TitleSettings
from omniagent_cli.agent.events import Engine, ModelSettings
from omniagent_cli.agent.models.automatic import AutomaticEngine
from omniagent_cli.agent.models.protocol_memory import ProtocolMemory
from omniagent_cli.agent.models.recall import NAME as RECALL
from omniagent_cli.agent.models.recall import Recall
from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.agent.tools.tool_toggles import ToolToggles
from omniagent_cli.config import (
    Settings,
    cache_dir,
    chosen_model,
    config_dir,
    resolve_model,
    resolve_window,
)
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.keys import KeyChain

if TYPE_CHECKING:
    from omniagent_cli.agent.models.discovery import Choice, LocalServer, Probe
    from omniagent_cli.agent.models.known_models import KnownModels
    from omniagent_cli.agent.tools.tool import Approve
    from omniagent_cli.cli.models.known_models import ModelLists
    from omniagent_cli.cli.talk.model_notices import ModelNotices
    from omniagent_cli.models import Session
    from omniagent_cli.repl.first_use import FirstUse
    from omniagent_cli.stores import SessionStore


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person said on the command line about who answers.

    Attributes:
        model: ``provider:name``, an alias, or None to choose.
        system: the system prompt, or ``@FILE``; None for the configured one.
        offline: this machine only.
        schema: the JSON schema the answer is to follow.
        tools: whether the model is offered tools.
        only_tools: these tools and skills and no others; None for all.
        yes_tools: tools and skills that may write and destroy without anybody being asked.
    """

    model: str | None = None
    system: str | None = None
    offline: bool = False
    schema: Mapping[str, Any] | None = None
    tools: bool = True
    only_tools: frozenset[str] | None = None
    yes_tools: frozenset[str] = frozenset()


class Answering:
    """Makes agents, and engines for other models while one runs; an automatic choice is told once.

    Attributes:
        tell: says a line to the person; may be replaced.
        confirm: asks the person yes or no; None where nobody can be asked now.
        known: the models to choose from; then no list is requested. Else those that are remembered.
        unconfirmed: the choice of a server that was found, and that nobody agreed to yet.
    """

    def __init__(
        self,
        settings: Settings,
        wishes: Wishes | None = None,
        *,
        tell: Callable[[str], None],
        confirm: Callable[[str], bool] | None = None,
        probe: Probe | None = None,
        known: KnownModels | None = None,
    ) -> None:
        self.settings = settings
        self.wishes = wishes or Wishes()
        self.tell = tell
        self.confirm = confirm
        self.unconfirmed: Choice | None = None
        self._probe = probe
        self._given = known
        self.keys = KeyChain(config_dir(settings.environ) / "keys.json", environ=settings.environ)
        self._protocols = ProtocolMemory(cache_dir(settings.environ) / "protocols.json")
        self._told: set[str] = set()

    def agent(
        self,
        store: SessionStore | None,
        session_id: str | None = None,
        *,
        approve: Approve | None = None,
        titling: TitleSettings | None = None,
    ) -> Agent:
        """Make the agent that goes on with a session, or begins one; with `titling`, sessions get titles too.

        Raises:
            UsageError: a model or the system prompt is wrong.
            ModelUnreachable: the session's model is elsewhere, and offline was asked for.
        """
        system_prompt = self.system_prompt()
        header = _header_of(store, session_id)
        pinned = (header.model or None) if header else None
        engine = self.engine(pinned, resumed=header is not None)
        if session_id is not None and pinned == engine.name:
            self._notices.warn_of_shutdown(session_id, self._shutdown_warning(pinned))
        return Agent(
            engine,
            store=store,
            system_prompt=system_prompt,
            skills=lambda: self.skills(with_store=store is not None),
            toggles=ToolToggles(self.wishes.only_tools, frozenset(self.settings.tools.disabled)),
            approve=approve,
            settings=replace(model_settings(self.settings), schema=self.wishes.schema),
            window=resolve_window(self.settings),
            max_tool_rounds=self.settings.agent.max_tool_rounds,
            rollover=rollover_of(self.settings),
            titles=titling,
            keys=self.keys,
        )

    def skills(self, *, with_store: bool = True) -> list[Skill]:
        """Return the skills whose tools the model is offered."""
        from omniagent_cli.cli.talk.skills import skills_of

        return skills_of(self.settings, self.wishes, tell=self.tell, with_store=with_store)

    def engine(self, session_model: str | None = None, *, resumed: bool = False) -> Engine:
        """Choose the model of a session, and report an automatic choice once.

        Args:
            session_model: the model that the session is pinned to.
            resumed: the session exists; that `recall` is used was reported when it was created.
        """
        choice = self.choice(session_model)
        is_reported = resumed and choice.model == RECALL
        choice = self._agreed(choice)
        if choice.automatic and choice.model not in self._told and not is_reported:
            self._told.add(choice.model)
            keep = (
                f"; `omniagent models use {choice.model}` keeps to it" if self.unconfirmed else ""
            )
            self.tell(f"{choice.announcement}{keep}")
        self._notices.suggest_extra(choice)
        engine = self._opened(choice)
        if choice.automatic and choice.send_key and choice.model != RECALL:
            return AutomaticEngine(engine, lambda: self._successor(choice))
        return engine

    def _successor(self, missing: Choice) -> Engine | None:
        """Open the next model for an automatically chosen one that its provider does not have."""
        model = self._lists.successor(missing.model)
        return self._opened(replace(missing, model=model)) if model else None

    def _agreed(self, choice: Choice) -> Choice:
        """Ask before the first use of a server that was found; recall answers when the person says no."""
        from omniagent_cli.cli.talk.server_consent import Agreed, question

        agreed = Agreed(self.settings.environ)
        if agreed.knows(choice):
            return choice
        if self.confirm is None:
            self.unconfirmed = choice
            return choice
        if not self.confirm(question(choice)):
            return replace(choice, model=RECALL, reason=f"you declined {choice.model}", base_url="")
        agreed.add(choice)
        return choice

    def first_use(self, engine: Engine) -> FirstUse | None:
        """Return what the person is to be asked before the first word goes to an engine, if anything."""
        choice = self.unconfirmed
        if choice is None or engine.name != choice.model:
            return None
        from omniagent_cli.cli.talk.server_consent import Agreed, question
        from omniagent_cli.repl.first_use import FirstUse

        def agree() -> None:
            self.unconfirmed = None
            Agreed(self.settings.environ).add(choice)

        return FirstUse(question(choice), agree)

    def titling(self, tell: Callable[[str], None]) -> TitleSettings | None:
        """Return who names sessions, as configured; trouble with it is told there."""
        named = self.settings.titles.model
        if named is None:
            return None
        if named == CURRENT:
            return TitleSettings(report=tell)
        return TitleSettings(lambda: self.engine_for(named), tell)

    def engine_for(self, model: str) -> Engine:
        """Open the model a person names, by its name or an alias.

        Raises:
            UsageError: it is no model, or not on this machine while offline.
        """
        engine = self._opened(self._choose(explicit=resolve_model(self.settings, model)))
        if warning := self._shutdown_warning(engine.name):
            self.tell(warning)
        return engine

    def _shutdown_warning(self, model: str) -> str:
        from omniagent_cli.cli.models.known_models import shutdown_warning

        return shutdown_warning(self._known(), model, utc_now().date())

    def _known(self) -> KnownModels:
        from omniagent_cli.cli.models.known_models import known_models

        request = None if self.wishes.offline else self._lists.first
        return self._given or known_models(self.settings, request=request)

    def known_models(self) -> list[str]:
        """Return names of models that nobody has to be asked for: aliases, and each provider's usual one."""
        return [*dict.fromkeys([*self.settings.aliases, *self._known().names(), RECALL])]

    def choice(self, session_model: str | None = None) -> Choice:
        """Choose: the command line, the session's model, variable or file, a key, a local server, recall."""
        named = self.wishes.model
        if named is not None and not named.strip():
            raise UsageError("--model needs a model, such as openai:gpt-6.1-sol")
        explicit = resolve_model(self.settings, named) if named is not None else None
        return self._choose(explicit=explicit, session=session_model)

    @property
    def _notices(self) -> ModelNotices:
        from omniagent_cli.cli.talk.model_notices import ModelNotices

        return ModelNotices(self.settings, self.tell)

    @cached_property
    def _lists(self) -> ModelLists:
        from omniagent_cli.cli.models.known_models import ModelLists

        return ModelLists(self.settings, self.keys)

    def system_prompt(self) -> str:
        """Return what is sent first: ``--system``, or the configured one."""
        named = self.wishes.system
        if named is None:
            return self.settings.agent.system_prompt or ""
        return read_system_prompt(named[1:]) if named.startswith("@") else named

    def _choose(self, *, explicit: str | None = None, session: str | None = None) -> Choice:
        from omniagent_cli.agent.models.discovery import choose_model

        configured, origin = chosen_model(self.settings)
        known, server = self._known(), None
        if explicit:
            explicit, server = self._qualified(explicit, known)
        elif configured and not session:
            configured, server = self._qualified(configured, known, origin=str(origin))
        choice = choose_model(
            explicit=explicit,
            session=session,
            configured=configured,
            configured_from=str(origin),
            base_url=self._base_url(explicit or session or configured, configured),
            keys=self.keys,
            offline=self.wishes.offline,
            environ=self.settings.environ,
            probe=self._probe,
            known=known,
        )
        if server is not None:  # found automatically, like a server that is chosen for a session
            return replace(choice, base_url=server.base_url, send_key=False)
        self._refresh_list(choice, session)
        return choice

    def _qualified(
        self, model: str, known: KnownModels, *, origin: str = ""
    ) -> tuple[str, LocalServer | None]:
        """Return ``provider:name`` for a model named without its provider, and the local server that has it."""
        from omniagent_cli.agent.models.discovery import probe_local_servers
        from omniagent_cli.agent.models.known_models import is_bare

        if not is_bare(model):
            return model, None
        if self.settings.agent.base_url and not self.settings.agent.provider and ":" not in model:
            return (
                f"openai:{model}",
                None,
            )  # the protocol of a server of which only the address is known
        probe = self._probe or (lambda: probe_local_servers(environ=self.settings.environ))
        local = {
            f"{server.provider.name}:{name}": server for server in probe() for name in server.models
        }
        name = known.qualify(model, origin=origin, local=local)
        return name, local.get(name)

    def _refresh_list(self, choice: Choice, session: str | None) -> None:
        """Refresh a stale list in the background where a choice depends on it."""
        from omniagent_cli.agent.models.providers import PROVIDERS

        provider = PROVIDERS.get(choice.model.partition(":")[0])
        depends = choice.automatic or (session and not choice.base_url)
        if (
            provider is None
            or provider.local
            or choice.found
            or self.wishes.offline
            or self._given
            or not depends
        ):
            return
        self._lists.refresh(provider)

    def _base_url(self, model: str | None, configured: str | None) -> str | None:
        """Return the configured address for a model of the provider it was configured for, and for no other."""
        from omniagent_cli.agent.models.providers import PROVIDERS

        address = self.settings.agent.base_url
        home = self.settings.agent.provider or (configured or "").partition(":")[0]
        provider = (model or "").partition(":")[0]
        if address and home and provider in PROVIDERS and provider != home:
            return None
        return address

    def _api(self, model: str) -> str | None:
        """Return the configured protocol, which belongs to the configured address if there is one."""
        address, api = self.settings.agent.base_url, self.settings.agent.api
        is_at_address = self._base_url(model, chosen_model(self.settings)[0]) == address
        return api if is_at_address else None

    def _opened(self, choice: Choice) -> Engine:
        if choice.model == RECALL:
            return Recall(named=not choice.automatic, keys=self.keys)
        from omniagent_cli.agent.models.engine_factory import open_engine

        return open_engine(
            choice.model,
            base_url=choice.base_url or None,
            api=self._api(choice.model),
            keys=self.keys,
            send_key=choice.send_key,
            memory=self._protocols,
        )


def _header_of(store: SessionStore | None, session_id: str | None) -> Session | None:
    if store is None or session_id is None:
        return None
    try:
        return store.header(session_id)
    except SessionNotFound:
        return None


def rollover_of(settings: Settings) -> Rollover:
    """Return when sessions begin anew, as configured."""
    rollover = settings.rollover
    return Rollover(idle=rollover.idle, daily=rollover.daily, timezone=rollover.timezone)


def model_settings(settings: Settings) -> ModelSettings:
    """Return how to ask a model, as configured; a time-out of never waits for ever."""
    agent = settings.agent
    return ModelSettings(
        temperature=agent.temperature,
        max_tokens=agent.max_tokens,
        seed=agent.seed,
        reasoning_effort=agent.reasoning_effort,
        first_token_timeout_seconds=_seconds(agent.first_token_timeout),
        token_timeout_seconds=_seconds(agent.token_timeout),
    )


def _seconds(time: timedelta | None) -> float:
    return math.inf if time is None else time.total_seconds()
