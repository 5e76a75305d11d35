"""The skills of the command line: its own, MCP servers, and what installed packages bring."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from omniagent_cli.agent.tools.captured_output import CapturedOutput, capture_output
from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from omniagent_cli.cli.talk.agent_factory import Wishes
    from omniagent_cli.config import Settings

ENTRY_POINTS = "omniagent.skills"
"""Packages name a `Skill`, a subclass of it, or a function that returns one under this group."""


def skills_of(
    settings: Settings, wishes: Wishes, *, tell: Callable[[str], None], with_store: bool = True
) -> list[Skill]:
    """Return the skills whose tools a model may be offered, in the order in which their names win.

    Nothing is started here: a skill is set up before the first turn that offers its tools.

    Args:
        settings: ``tools.*`` switches them off, ``mcp.servers.*`` adds some.
        wishes: what the command line says.
        tell: hears of a package whose skill cannot be loaded, in one line.
        with_store: there are sessions for our own skill; an ephemeral conversation has none.
    """
    if not settings.tools.enabled or not wishes.tools:
        return []
    skills = all_skills(settings, tell=tell, with_store=with_store)
    return [skill for skill in skills if skill.name not in settings.tools.disabled]


def all_skills(
    settings: Settings, *, tell: Callable[[str], None], with_store: bool = True
) -> list[Skill]:
    """Return every skill there is, switched off or not; see `skills_of`."""
    from omniagent_cli.agent.mcp.skill import mcp_skills
    from omniagent_cli.agent.tools.session_skill import SessionsSkill
    from omniagent_cli.config import mcp_servers

    # Our own come first, so that no package takes their names. The store is the person's own, all of it.
    own: list[Skill] = [SessionsSkill(scope="all")] if with_store else []
    servers = mcp_skills(mcp_servers(settings))
    for skill in own:
        skill.origin = "built in"
    for server in servers:
        server.origin = "MCP server"
    skills = [*own, *servers]
    for skill in _installed(tell):
        if any(skill.name == other.name for other in skills):
            tell(
                one_line(
                    f"the skill {skill.name} of the {skill.origin} is left out: there is one of that name"
                )
            )
        else:
            skills.append(skill)
    return skills


def _installed(tell: Callable[[str], None]) -> list[Skill]:
    """Load what installed packages bring; installing one was the person's choice."""
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    skills = (_loaded(point, tell) for point in found)
    return [skill for skill in skills if skill is not None]


def _loaded(point: EntryPoint, tell: Callable[[str], None]) -> Skill | None:
    try:
        with capture_output(CapturedOutput()):
            skill = point.load()
            if not isinstance(skill, Skill):
                skill = skill()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # somebody's package: it is told, and the others go on
        why = f"{type(error).__name__}: {error}"
    else:
        if isinstance(skill, Skill):
            skill.origin = f"package {point.dist.name}" if point.dist else "a package"
            return skill
        why = f"{point.value} is no Skill"
    tell(one_line(f"the skill {point.name} cannot be loaded: {why}; update or uninstall it"))
    return None
