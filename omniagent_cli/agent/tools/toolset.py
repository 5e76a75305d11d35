"""The toolset of an agent: its own tools and those of its skills, filtered by toggles."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from omniagent_cli.agent.loop_thread import LoopThread
from omniagent_cli.agent.tools.captured_output import CapturedOutput, capture_output
from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.agent.tools.tool import OfferedTools, Tool
from omniagent_cli.agent.tools.tool_names import TOOL_NAME
from omniagent_cli.agent.tools.tool_toggles import SessionToolToggles, ToolStatus, ToolToggles
from omniagent_cli.errors import OmniAgentError, UsageError
from omniagent_cli.fork_safety import ForkAware, keep_forever, register
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from omniagent_cli.stores.store import SessionStore

CLOSE_SECONDS = 5.0


@dataclass(slots=True)
class _OpenedSkill:
    """A skill that was opened, or failed to open."""

    skill: Skill
    tools: Sequence[Tool] = ()
    failed: bool = False


class Toolset(ForkAware):
    """The tools and skills of an agent.

    Skills live in an event loop of their own, in which they are opened, run and closed. An agent may be used from several
    loops in succession, but a connection to a server belongs to the loop that opened it.

    Args:
        tools: the agent's own tools.
        skills: opened before the first turn that offers tools; or a function that returns them, called then in a thread.
        store: passed to the skills.
        toggles: which tools are offered.

    Attributes:
        names: the names of tools and skills known so far, without opening any skill.
    """

    def __init__(
        self,
        tools: Sequence[Tool] = (),
        skills: Sequence[Skill] | Callable[[], Sequence[Skill]] = (),
        *,
        store: SessionStore | None = None,
        toggles: ToolToggles | None = None,
    ) -> None:
        self.tools = _check_tools(tools)
        self.toggles = toggles or ToolToggles()
        self.names = [tool.name for tool in self.tools]
        self._skills = skills
        self._store = store
        self._loop_thread = LoopThread()
        self._loading = threading.Lock()
        self._lock: asyncio.Lock | None = None
        self._opened: dict[int, _OpenedSkill] = {}
        self._reported: set[str] = set()
        register(self)

    def after_fork_in_child(self) -> None:
        """Open the skills again before their next use: connections and tasks belong to the parent."""
        keep_forever(self._opened)
        self._loading, self._lock, self._opened = threading.Lock(), None, {}

    async def offered_tools(self, session: SessionToolToggles) -> OfferedTools:
        """Return the tools offered in a turn."""
        known, notices = await self.tool_statuses(session)
        return OfferedTools(
            [entry.tool for entry in known if not entry.why_off], notices, self._loop_thread
        )

    async def tool_statuses(
        self, session: SessionToolToggles
    ) -> tuple[list[ToolStatus], list[str]]:
        """Return the status of every tool, and the notices not reported yet."""
        notices: list[str] = []
        opened: list[_OpenedSkill] = []
        if not isinstance(self._skills, Sequence) or self._skills:
            opened = await asyncio.wrap_future(self._loop_thread.submit(self._open_skills(notices)))
        notices += [one_line(line) for entry in opened for line in entry.skill.excluded_tools]
        found = self._unique_tools(opened, notices)
        known = [ToolStatus(tool, self.why_off(tool, session)) for tool in found]
        self.names = list(dict.fromkeys(n for tool in found for n in (tool.skill, tool.name) if n))
        notices += self._unknown({name for tool in found for name in (tool.name, tool.skill)})
        new = [text for text in dict.fromkeys(notices) if text not in self._reported]
        self._reported.update(new)
        return known, new

    def why_off(self, tool: Tool, session: SessionToolToggles) -> str:
        """Return the reason why a tool is not offered; empty if it is."""
        return self.toggles.why_off(tool) or ("session" if session.is_off(tool) else "")

    def load(self) -> list[Skill]:
        """Return the skills without opening them; a function that returns them is called once."""
        with self._loading:
            if not isinstance(self._skills, Sequence):
                self._skills = list(self._skills())
            return list(self._skills)

    def retry_failed_skills(self) -> None:
        """Open skills that failed to open again before the next turn."""
        for entry in [entry for entry in self._opened.values() if entry.failed]:
            del self._opened[id(entry.skill)]
            self._reported = {
                text for text in self._reported if not text.startswith(_failure_prefix(entry.skill))
            }

    async def aclose(self) -> None:
        """Close the skills."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Close the skills, synchronously."""
        opened = [entry.skill for entry in self._opened.values() if not entry.failed]
        self._opened.clear()
        if opened:
            with suppress(TimeoutError):  # a tool blocks the loop
                self._loop_thread.submit(_close_all(opened)).result(2 * CLOSE_SECONDS)
        self._loop_thread.close()

    # Run in the event loop of the skills.

    async def _open_skills(self, notices: list[str]) -> list[_OpenedSkill]:
        """Open the skills that are not open yet."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            skills = await asyncio.to_thread(self.load)
            wanted = [skill for skill in skills if skill.name not in self.toggles.disabled]
            new = [skill for skill in wanted if id(skill) not in self._opened]
            await asyncio.gather(*(self._open(skill, notices) for skill in new))
            return [self._opened[id(skill)] for skill in wanted]

    async def _open(self, skill: Skill, notices: list[str]) -> None:
        why = ""
        try:
            with capture_output(CapturedOutput()):
                async with asyncio.timeout(skill.open_seconds):
                    tools = await skill.open(self._store)
            if any(not isinstance(tool, Tool) for tool in tools):
                raise UsageError("it returned an object that is not a Tool")  # noqa: TRY301  # reported like the others
            # Recorded immediately, so that it is closed even if opening the others is interrupted.
            self._opened[id(skill)] = _OpenedSkill(skill, tools)
        except TimeoutError:
            why = f"timed out after {skill.open_seconds:g} s"
        except OmniAgentError as error:
            why = str(error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            why = f"it raised {type(error).__name__}"
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a faulty skill is reported, and the turn continues
            why = f"{type(error).__name__}: {error}"
        if why:
            notices.append(one_line(f"{_failure_prefix(skill)}{why}; its tools are not available"))
            self._opened[id(skill)] = _OpenedSkill(skill, failed=True)

    # Names.

    def _unique_tools(self, opened: Sequence[_OpenedSkill], notices: list[str]) -> list[Tool]:
        """Return the tools with legal names; of tools with the same name, the first."""
        taken: dict[str, Tool] = {}
        offered = [
            replace(tool, skill=entry.skill.name) for entry in opened for tool in list(entry.tools)
        ]
        for tool in [*self.tools, *offered]:
            if not TOOL_NAME.fullmatch(tool.name):
                why = "providers do not accept this name"
            elif other := taken.get(tool.name):
                owner = f"the skill {other.skill}" if other.skill else "the agent"
                why = f"{owner} has a tool of the same name"
            else:
                taken[tool.name] = tool
                continue
            notices.append(
                one_line(f"tool {tool.name} of the skill {tool.skill} is not available: {why}")
            )
        return list(taken.values())

    def _unknown(self, names: set[str]) -> list[str]:
        missing = sorted((self.toggles.only or frozenset()) - names)
        known = ", ".join(sorted(names - {""})) or "none"
        return [one_line(f"unknown tool or skill {name!r}; available: {known}") for name in missing]


def _failure_prefix(skill: Skill) -> str:
    return one_line(f"Cannot open the skill {skill.name}: ")


def _check_tools(tools: Sequence[Tool]) -> list[Tool]:
    """Return the tools.

    Raises:
        UsageError: an object is not a tool, or a name is duplicate or not accepted by providers.
    """
    names = set()
    for tool in tools:
        if not isinstance(tool, Tool):
            raise UsageError(f"{tool!r} is not a Tool; create one with @tool or Tool.from_function")
        if not TOOL_NAME.fullmatch(tool.name) or tool.name in names:
            why = (
                "duplicate name"
                if tool.name in names
                else "must be 1 to 64 letters, digits, _ and -"
            )
            raise UsageError(f"invalid tool name {tool.name!r}: {why}")
        names.add(tool.name)
    return list(tools)


async def _close_all(skills: Sequence[Skill]) -> None:
    """Close skills, each within a timeout; errors are ignored because nothing depends on the skills any more."""

    async def close(skill: Skill) -> None:
        with capture_output(CapturedOutput()):
            async with asyncio.timeout(CLOSE_SECONDS):
                await skill.aclose()

    await asyncio.gather(*(close(skill) for skill in skills), return_exceptions=True)
