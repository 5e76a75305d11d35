"""Creation of agents and engines from settings and command-line options."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

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
from omniagent_cli.cli.talk.agent_options import AgentOptions
from omniagent_cli.config.paths import cache_dir, config_dir
from omniagent_cli.config.resolution import chosen_model, resolve_model, resolve_window
from omniagent_cli.config.settings import Settings
from omniagent_cli.durations import utc_now
from omniagent_cli.errors import SessionNotFound, UsageError
from omniagent_cli.keys import KeyChain

if TYPE_CHECKING:
    from omniagent_cli.agent.models.discovery import LocalServer, ModelChoice, Probe
    from omniagent_cli.agent.models.known_models import KnownModels
    from omniagent_cli.agent.tools.tool import Approve
    from omniagent_cli.cli.models.known_models import ModelLists
    from omniagent_cli.cli.talk.model_notices import ModelNotices
    from omniagent_cli.models import Session
    from omniagent_cli.repl.first_use import FirstUse
    from omniagent_cli.stores import SessionStore


class AgentFactory:
    """Factory of agents, and of engines for other models while an agent runs; reports an automatic choice once.

    Attributes:
        tell: prints a line for the user; may be replaced.
        confirm: asks the user a yes-or-no question; None if not interactive.
        known: the models to choose from, without requesting lists; by default the remembered ones.
        unconfirmed: the choice of a discovered server that still needs consent.
    """

    def __init__(
        self,
        settings: Settings,
        options: AgentOptions | None = None,
        *,
        tell: Callable[[str], None],
        confirm: Callable[[str], bool] | None = None,
        probe: Probe | None = None,
        known: KnownModels | None = None,
    ) -> None:
        self.settings = settings
        self.options = options or AgentOptions()
        self.tell = tell
        self.confirm = confirm
        self.unconfirmed: ModelChoice | None = None
        self._probe = probe
        self._known_models = known
        self.keys = KeyChain(config_dir(settings.environ) / "keys.json", environ=settings.environ)
        self._protocols = ProtocolMemory(cache_dir(settings.environ) / "protocols.json")
        self._reported: set[str] = set()

    def agent(
        self,
        store: SessionStore | None,
        session_id: str | None = None,
        *,
        approve: Approve | None = None,
        titling: TitleSettings | None = None,
        more_skills: Callable[[], Sequence[Skill]] = tuple,
    ) -> Agent:
        """Return an agent that continues a session or starts a new one; with `titling`, sessions get titles.

        `more_skills` are offered beside those of the settings.

        Raises:
            UsageError: the model or the system prompt is invalid.
            ModelUnreachable: the session's model is remote while offline.
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
            skills=lambda: [*self.skills(with_store=store is not None), *more_skills()],
            toggles=ToolToggles(self.options.only_tools, frozenset(self.settings.tools.disabled)),
            approve=approve,
            settings=replace(model_settings(self.settings), schema=self.options.schema),
            window=resolve_window(self.settings),
            max_tool_rounds=self.settings.agent.max_tool_rounds,
            rollover=rollover_of(self.settings),
            titles=titling,
            origin=self.options.origin,
            keys=self.keys,
        )

    def skills(self, *, with_store: bool = True) -> list[Skill]:
        """Return the skills whose tools are offered to the model."""
        from omniagent_cli.cli.talk.skills import enabled_skills

        return enabled_skills(self.settings, self.options, tell=self.tell, with_store=with_store)

    def engine(self, session_model: str | None = None, *, resumed: bool = False) -> Engine:
        """Choose the model of a session, and report an automatic choice once.

        Args:
            session_model: the model that the session is pinned to.
            resumed: the session exists, so the use of `recall` was already reported.
        """
        choice = self.choice(session_model)
        is_reported = resumed and choice.model == RECALL
        choice = self._with_consent(choice)
        if choice.automatic and choice.model not in self._reported and not is_reported:
            self._reported.add(choice.model)
            keep = (
                f"; make it the default: omniagent models use {choice.model}"
                if self.unconfirmed
                else ""
            )
            self.tell(f"{choice.announcement}{keep}")
        self._notices.suggest_extra(choice)
        engine = self._open(choice)
        if choice.automatic and choice.send_key and choice.model != RECALL:
            return AutomaticEngine(engine, lambda: self._successor(choice))
        return engine

    def _successor(self, missing: ModelChoice) -> Engine | None:
        """Open the next model for an automatically chosen one that its provider does not have."""
        model = self._lists.successor(missing.model)
        return self._open(replace(missing, model=model)) if model else None

    def _with_consent(self, choice: ModelChoice) -> ModelChoice:
        """Ask before the first use of a discovered server; use `recall` if the user declines."""
        from omniagent_cli.cli.talk.server_consent import ConsentStore, question

        consents = ConsentStore(self.settings.environ)
        if consents.allows(choice):
            return choice
        if self.confirm is None:
            self.unconfirmed = choice
            return choice
        if not self.confirm(question(choice)):
            return replace(choice, model=RECALL, reason=f"you declined {choice.model}", base_url="")
        consents.add(choice)
        return choice

    def first_use(self, engine: Engine) -> FirstUse | None:
        """Return the consent question for an engine, or None if no consent is needed."""
        choice = self.unconfirmed
        if choice is None or engine.name != choice.model:
            return None
        from omniagent_cli.cli.talk.server_consent import ConsentStore, question
        from omniagent_cli.repl.first_use import FirstUse

        def agree() -> None:
            self.unconfirmed = None
            ConsentStore(self.settings.environ).add(choice)

        return FirstUse(question(choice), agree)

    def titling(self, tell: Callable[[str], None]) -> TitleSettings | None:
        """Return the configured titling of sessions, which reports its problems through `tell`."""
        named = self.settings.titles.model
        if named is None:
            return None
        if named == CURRENT:
            return TitleSettings(report=tell)
        return TitleSettings(lambda: self.engine_for(named), tell)

    def engine_for(self, model: str) -> Engine:
        """Return an engine for a model name or alias.

        Raises:
            UsageError: unknown model, or a remote one while offline.
        """
        engine = self._open(self._choose(explicit=resolve_model(self.settings, model)))
        if warning := self._shutdown_warning(engine.name):
            self.tell(warning)
        return engine

    def _shutdown_warning(self, model: str) -> str:
        from omniagent_cli.cli.models.known_models import shutdown_warning

        return shutdown_warning(self._remembered_models(), model, utc_now().date())

    def _remembered_models(self) -> KnownModels:
        from omniagent_cli.cli.models.known_models import known_models

        request = None if self.options.offline else self._lists.first
        return self._known_models or known_models(self.settings, request=request)

    def known_models(self) -> list[str]:
        """Return the model names that are known without a request: aliases, remembered lists and `recall`."""
        return [
            *dict.fromkeys([*self.settings.aliases, *self._remembered_models().names(), RECALL])
        ]

    def choice(self, session_model: str | None = None) -> ModelChoice:
        """Choose the model: command line, session, environment or file, API key, local server, `recall`."""
        named = self.options.model
        if named is not None and not named.strip():
            raise UsageError("--model must not be empty; for example -m openai:gpt-6.1-sol")
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
        """Return the system prompt: ``--system`` or the configured one."""
        named = self.options.system
        if named is None:
            return self.settings.agent.system_prompt or ""
        return read_system_prompt(named[1:]) if named.startswith("@") else named

    def _choose(self, *, explicit: str | None = None, session: str | None = None) -> ModelChoice:
        from omniagent_cli.agent.models.discovery import choose_model

        configured, origin = chosen_model(self.settings)
        known, server = self._remembered_models(), None
        if explicit:
            explicit, server = self._qualify(explicit, known)
        elif configured and not session:
            configured, server = self._qualify(configured, known, origin=str(origin))
        choice = choose_model(
            explicit=explicit,
            session=session,
            configured=configured,
            configured_from=str(origin),
            base_url=self._base_url(explicit or session or configured, configured),
            keys=self.keys,
            offline=self.options.offline,
            environ=self.settings.environ,
            probe=self._probe,
            known=known,
        )
        if server is not None:  # discovered, so it is sent no key
            return replace(choice, base_url=server.base_url, send_key=False)
        self._refresh_list(choice, session)
        return choice

    def _qualify(
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
            )  # the protocol for a server with an address alone
        probe = self._probe or (lambda: probe_local_servers(environ=self.settings.environ))
        local = {
            f"{server.provider.name}:{name}": server for server in probe() for name in server.models
        }
        name = known.qualify(model, origin=origin, local=local)
        return name, local.get(name)

    def _refresh_list(self, choice: ModelChoice, session: str | None) -> None:
        """Refresh a stale list in the background where a choice depends on it."""
        from omniagent_cli.agent.models.providers import PROVIDERS

        provider = PROVIDERS.get(choice.model.partition(":")[0])
        depends = choice.automatic or (session and not choice.base_url)
        if (
            provider is None
            or provider.local
            or choice.found
            or self.options.offline
            or self._known_models
            or not depends
        ):
            return
        self._lists.refresh(provider)

    def _base_url(self, model: str | None, configured: str | None) -> str | None:
        """Return the configured address if it belongs to the provider of a model."""
        from omniagent_cli.agent.models.providers import PROVIDERS

        address = self.settings.agent.base_url
        home = self.settings.agent.provider or (configured or "").partition(":")[0]
        provider = (model or "").partition(":")[0]
        if address and home and provider in PROVIDERS and provider != home:
            return None
        return address

    def _api(self, model: str) -> str | None:
        """Return the configured protocol if it belongs to the address of a model."""
        address, api = self.settings.agent.base_url, self.settings.agent.api
        is_at_address = self._base_url(model, chosen_model(self.settings)[0]) == address
        return api if is_at_address else None

    def _open(self, choice: ModelChoice) -> Engine:
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
    """Return the configured rollover of sessions."""
    rollover = settings.rollover
    return Rollover(idle=rollover.idle, daily=rollover.daily, timezone=rollover.timezone)


def model_settings(settings: Settings) -> ModelSettings:
    """Return the configured model settings; a timeout of "never" is infinite."""
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
