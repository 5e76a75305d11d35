"""The skills of the command line: built-in ones, MCP servers, and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from omniagent_cli.agent.tools.captured_output import CapturedOutput, capture_output
from omniagent_cli.agent.tools.skill import Skill
from omniagent_cli.text.sanitize import one_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from omniagent_cli.cli.talk.agent_options import AgentOptions
    from omniagent_cli.config.settings import Settings

ENTRY_POINTS = "omniagent.skills"
"""The entry point group of a `Skill`, a subclass, or a function that returns one."""


def enabled_skills(
    settings: Settings,
    options: AgentOptions,
    *,
    tell: Callable[[str], None],
    with_store: bool = True,
) -> list[Skill]:
    """Return the skills whose tools are offered; of equal names the first wins.

    No skill is set up here; that happens before the first turn that offers its tools.

    Args:
        settings: ``tools.*`` disables skills, ``mcp.servers.*`` adds some.
        options: the command-line options.
        tell: receives one line for each package whose skill cannot be loaded.
        with_store: offer the built-in skill for sessions; ephemeral chats have none.
    """
    if not settings.tools.enabled or not options.tools:
        return []
    skills = all_skills(settings, tell=tell, with_store=with_store)
    return [skill for skill in skills if skill.name not in settings.tools.disabled]


def all_skills(
    settings: Settings, *, tell: Callable[[str], None], with_store: bool = True
) -> list[Skill]:
    """Return every skill, including disabled ones; see `enabled_skills`."""
    from omniagent_cli.agent.mcp.skill import mcp_skills
    from omniagent_cli.agent.tools.session_skill import SessionsSkill
    from omniagent_cli.config.mcp import mcp_servers

    # Built-in skills come first.
    own: list[Skill] = [SessionsSkill(scope="all")] if with_store else []
    servers = mcp_skills(mcp_servers(settings))
    for skill in own:
        skill.origin = "built in"
    own += _folder_skills(settings)
    for server in servers:
        server.origin = "MCP server"
    skills = [*own, *servers]
    for skill in _package_skills(tell):
        if any(skill.name == other.name for other in skills):
            tell(
                one_line(
                    f"skill {skill.name} of the {skill.origin} is skipped: the name is already in use"
                )
            )
        else:
            skills.append(skill)
    return skills


def _folder_skills(settings: Settings) -> list[Skill]:
    """Return the skill of the user's skill folders, and of those of a project as far as its files are trusted."""
    from omniagent_cli.agent.tools.skill_folders import SkillFolders, skill_folders
    from omniagent_cli.config import trust
    from omniagent_cli.config.paths import config_dir
    from omniagent_cli.config.prompts import SKILLS

    folders = []
    if settings.project_file is not None:
        folders += skill_folders(
            settings.project_file.parent / SKILLS,
            lambda file: trust.is_trusted(file, environ=settings.environ),
        )
    folders += skill_folders(config_dir(settings.environ) / SKILLS, lambda _: True)
    if not folders:
        return []
    skill = SkillFolders(folders)
    skill.origin = "skill folders"
    return [skill]


def _package_skills(tell: Callable[[str], None]) -> list[Skill]:
    """Load the skills of installed packages."""
    from importlib.metadata import entry_points

    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    skills = (_load(point, tell) for point in found)
    return [skill for skill in skills if skill is not None]


def _load(point: EntryPoint, tell: Callable[[str], None]) -> Skill | None:
    try:
        with capture_output(CapturedOutput()):
            skill = point.load()
            if not isinstance(skill, Skill):
                skill = skill()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a failing package is reported; the other skills are still loaded
        why = f"{type(error).__name__}: {error}"
    else:
        if isinstance(skill, Skill):
            skill.origin = f"package {point.dist.name}" if point.dist else "a package"
            return skill
        why = f"{point.value} is not a Skill"
    tell(one_line(f"the skill {point.name} cannot be loaded: {why}; update or uninstall it"))
    return None
