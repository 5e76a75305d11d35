"""The table of commands: function, one line of help and two examples each, listed without importing any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple


class Row(NamedTuple):
    """Row of one command.

    Attributes:
        target: ``module:function`` below `omniagent_cli.cli`.
        help: one line, without a full stop.
        examples: two working command lines, for ``--help`` and the manual; a test runs each.
        json: whether it accepts ``--json``.
        words: whether words that start with a dash are arguments, as in ``tag ID -old``.
        number: whether its last argument may be a negative number, as in ``meta set ID KEY -1``.
        alone: an option whose value may be omitted, and its default value.
    """

    target: str
    help: str
    examples: tuple[str, str]
    json: bool = False
    words: bool = False
    number: bool = False
    alone: tuple[str, str] | None = None


class Group(NamedTuple):
    """Group of commands under one name.

    Attributes:
        default: the command that runs when none is named; None prints the help.
        sections: titles and command names of the sections of the help; empty for one section.
    """

    help: str
    commands: dict[str, Row | Group]
    default: str | None = None
    sections: Mapping[str, str] = MappingProxyType({})

    @property
    def listed(self) -> list[tuple[str, list[str]]]:
        """Titles and commands of the sections of the help, with the rest of the commands in the last one."""
        named = " ".join(self.sections.values()).split()
        rest = [name for name in self.commands if name not in named]
        found = [(title, names.split()) for title, names in self.sections.items()]
        return [*found, ("More commands" if named else "Commands", rest)] if rest else found

    @property
    def examples(self) -> tuple[str, ...]:
        """Examples of its first two commands."""
        first, *others = self.commands.values()
        return first.examples[0], others[0].examples[0] if others else first.examples[1]


def commands_below(
    group: Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Row | Group]]:
    """Yield every command and group with the words that lead to it, in the order of the table."""
    for name, row in group.commands.items():
        yield (*path, name), row
        if isinstance(row, Group):
            yield from commands_below(row, (*path, name))


_META = "omniagent sessions meta"
_STATE = "omniagent sessions state"

SESSIONS = Group(
    "list, read, search, trim, branch, tag and remove sessions",
    {
        "list": Row("sessions.list:list_sessions", "list sessions, pinned ones first", ("omniagent sessions list --since 7d", "omniagent sessions list --tag work --ids"), json=True),
        "show": Row("sessions.show:show", "show a session and its messages", ("omniagent sessions show @ --last 10", "omniagent sessions show user-123 -o alice.html"), json=True),
        "search": Row("sessions.search:search", "find messages that contain every word", ("omniagent sessions search '\"time zone\" post*'", "omniagent sessions search invoice --role user --limit 5"), json=True),
        "compact": Row("sessions.compact:compact", "summarize older messages with the model, to send less", ("omniagent sessions compact user-123 -m openai:gpt-6-luna", "omniagent sessions compact @ Keep every name and date"), json=True),
        "trim": Row("sessions.remove:trim", "keep only the last messages", ("omniagent sessions trim user-123 --keep 50", "omniagent sessions trim --all --keep 200 --yes"), json=True),
        "clear": Row("sessions.remove:clear", "remove all messages, keep the session", ("omniagent sessions clear user-123", "omniagent sessions clear user-123 --purge --yes"), json=True),
        "delete": Row("sessions.remove:delete", "remove sessions", ("omniagent sessions delete --older-than 90d --dry-run", "omniagent sessions list --ids --older-than 365d | omniagent sessions delete --stdin --yes"), json=True),
        "restore": Row("sessions.trash:restore", "restore what was removed last", ("omniagent sessions restore user-123", "omniagent sessions restore"), json=True),
        "trash": Row("sessions.trash:trash", "list what can be restored", ("omniagent sessions trash", "omniagent sessions trash --empty --yes"), json=True),
        "rename": Row("sessions.edit:rename", "change the id of a session", ("omniagent sessions rename user-123 alice", "omniagent sessions rename @ holiday-plans")),
        "fork": Row("sessions.edit:fork", "copy a session, up to a message", ("omniagent sessions fork user-123 what-if --at 7", "omniagent sessions fork user-123"), json=True),
        "tree": Row("sessions.tree:tree", "show forks below their sessions", ("omniagent sessions tree", "omniagent sessions tree user-123 --json"), json=True),
        "touch": Row("sessions.edit:touch", "restart or change the time to live of a session", ("omniagent sessions touch user-123 --ttl 30d", "omniagent sessions touch user-123 notes")),
        "title": Row("sessions.edit:title", "set or print the title of a session", ("omniagent sessions title user-123 'Holiday plans'", "omniagent sessions title @ Holiday plans")),
        "tag": Row("sessions.edit:tag", "add and remove tags", ("omniagent sessions tag user-123 +work -old", "omniagent sessions list --ids --since 7d | omniagent sessions tag --stdin +recent"), json=True, words=True),
        "pin": Row("sessions.edit:pin", "list sessions first, and keep them in bulk removals", ("omniagent sessions pin user-123", "omniagent sessions pin user-123 notes")),
        "unpin": Row("sessions.edit:unpin", "unpin sessions", ("omniagent sessions unpin user-123", "omniagent sessions unpin user-123 notes")),
        "archive": Row("sessions.edit:archive", "hide sessions from lists", ("omniagent sessions archive user-123", "omniagent sessions list --ids --older-than 90d | omniagent sessions archive --stdin")),
        "unarchive": Row("sessions.edit:unarchive", "show archived sessions in lists again", ("omniagent sessions unarchive user-123", "omniagent sessions list --ids --archived | omniagent sessions unarchive --stdin")),
        "meta": Group(
            "metadata: your own data about a session",
            {
                "set": Row("sessions.metadata:meta_set", "set one value", (f"{_META} set user-123 project '{{\"name\": \"apollo\"}}'", f"{_META} set user-123 customer Acme"), number=True),
                "get": Row("sessions.metadata:meta_get", "show one value, or all", (f"{_META} get user-123 project", f"{_META} get user-123"), json=True),
                "unset": Row("sessions.metadata:meta_unset", "remove one value", (f"{_META} unset user-123 project", f"{_META} unset @ project")),
            },
        ),
        "state": Group(
            "state: the agent's own data about a session",
            {
                "set": Row("sessions.metadata:state_set", "set one value", (f"{_STATE} set user-123 step 3", f"{_STATE} set user-123 plan '[\"look\", \"book\"]'"), number=True),
                "get": Row("sessions.metadata:state_get", "show one value, or all", (f"{_STATE} get user-123", f"{_STATE} get user-123 step"), json=True),
                "unset": Row("sessions.metadata:state_unset", "remove one value", (f"{_STATE} unset user-123 step", f"{_STATE} unset @ step")),
            },
        ),
        "export": Row("sessions.export:export", "export sessions to stdout, a file or a directory", ("omniagent sessions export user-123 --format markdown -o alice.md", "omniagent sessions export --tag work --format html -o pages/")),
        "import": Row("sessions.import_:import_", "import sessions from files or stdin", ("omniagent sessions import chats.jsonl --dry-run", "omniagent sessions import - < chats.jsonl"), json=True),
        "stats": Row("sessions.stats:stats", "count sessions, messages and tokens", ("omniagent sessions stats", "omniagent sessions stats --json"), json=True),
        "prune": Row("sessions.trash:prune", "remove expired sessions", ("omniagent sessions prune --dry-run", "omniagent sessions prune"), json=True),
    },
    sections={
        "Read": "list show search tree stats",
        "Organize": "title tag pin unpin archive unarchive rename touch meta state",
        "Change messages": "compact trim clear fork",
        "Remove and restore": "delete restore trash prune",
        "Files": "export import",
    },
)  # fmt: skip

_YES = ("--yes-tools", "all")

COMMANDS = Group(
    "Chat with any language model from your terminal; every conversation is saved and yours.",
    {
        "chat": Row("talk.chat:chat", "chat with a model", ("omniagent chat --session user-123", "omniagent chat --continue"), alone=_YES),
        "ask": Row("talk.ask:ask", "ask one question and print the answer", ("git diff | omniagent ask 'Write a commit message'", "omniagent ask --continue 'And in one sentence?'"), json=True, alone=_YES),
        "sessions": SESSIONS,
        "store": Group(
            "manage the store that holds the sessions",
            {
                "info": Row("store.commands:info", "show location and contents of the store", ("omniagent store info", "omniagent store info --json"), json=True),
                "check": Row("store.commands:check", "check the store for damage, and repair it", ("omniagent store check --repair", "omniagent store check"), json=True),
                "backup": Row("store.commands:backup", "copy the whole store to a file", ("omniagent store backup sessions-backup.db", 'omniagent store backup "sessions-$(date +%F).db"')),
                "compact": Row("store.commands:compact", "free the space of removed messages", ("omniagent store compact", "omniagent --store @work store compact")),
                "encrypt": Row("store.encryption:encrypt", "encrypt the whole store in place", ("omniagent store encrypt --generate-key ~/omniagent.key", "omniagent store encrypt --key-file ~/my.key")),
                "rekey": Row("store.encryption:rekey", "change the key of an encrypted store", ("omniagent store rekey --new-key-file ~/new.key", "omniagent store rekey --generate-key ~/fresh.key")),
                "migrate": Row("store.migrate:migrate", "copy sessions into another store", ("omniagent store migrate sessions.db @work", "omniagent store migrate @work archive/"), json=True),
                "sync": Row("store.sync:sync", "bring two stores to the same content", ("omniagent store sync @work --dry-run", "omniagent store sync ssh://laptop"), json=True),
                "serve-sync": Row("store.sync:serve_sync", "answer 'store sync' of another machine on stdin and stdout", ("omniagent store serve-sync < /dev/null", "omniagent --store @work store serve-sync < /dev/null")),
                "merge-driver": Row("store.sync:merge_driver", "merge two versions of a session file, for git", ("omniagent store merge-driver base.jsonl ours.jsonl theirs.jsonl", "git config merge.omniagent.driver 'omniagent store merge-driver %O %A %B'")),
            },
        ),
        "models": Group(
            "list and choose models",
            {
                "list": Row("models.commands:list_models", "list available models", ("omniagent models list", "omniagent models list --offline"), json=True),
                "use": Row("models.commands:use", "set the default model", ("omniagent models use ollama:llama3.2", "omniagent models use recall")),
            },
            default="list",
        ),
        "prompts": Group(
            "list and edit saved prompts",
            {
                "list": Row("prompts.commands:list_prompts", "list the saved prompts", ("omniagent prompts list", "omniagent prompts list --json"), json=True),
                "show": Row("prompts.commands:show", "print a saved prompt", ("omniagent prompts show review", "omniagent prompts show review --json"), json=True),
                "edit": Row("prompts.commands:edit", "edit a saved prompt in your editor, or create it", ("omniagent prompts edit review", "EDITOR=nano omniagent prompts edit review")),
            },
            default="list",
        ),
        "keys": Group(
            "manage API keys of providers",
            {
                "list": Row("settings.keys:list_keys", "list providers, and where their keys are stored", ("omniagent keys list", "omniagent keys list --json"), json=True),
                "set": Row("settings.keys:set_", "store the key of a provider", ("pass show openai | omniagent keys set openai", "omniagent keys set anthropic < key.txt")),
                "remove": Row("settings.keys:remove", "remove the key of a provider", ("omniagent keys remove openai", "omniagent keys remove anthropic")),
            },
            default="list",
        ),
        "tools": Group(
            "list the tools of models",
            {"list": Row("settings.tools:list_tools", "list the tools of all skills", ("omniagent tools list", "omniagent tools list --json"), json=True)},
            default="list",
        ),
        "config": Group(
            "show and change settings",
            {
                "list": Row("settings.commands:list_settings", "list all settings and their sources", ("omniagent config list", "omniagent config list --changed"), json=True),
                "get": Row("settings.commands:get", "show one setting or one table", ("omniagent config get window.max_messages", "omniagent config get store"), json=True),
                "set": Row("settings.commands:set_", "set one setting in your file", ("omniagent config set display.color never", "omniagent config set store.url ~/chats.db"), number=True),
                "unset": Row("settings.commands:unset", "remove one setting from your file", ("omniagent config unset display.color", "omniagent config unset window.max_tokens")),
                "path": Row("settings.commands:path", "print the path of your settings file", ("omniagent config path", 'cat "$(omniagent config path)"')),
                "edit": Row("settings.commands:edit", "open your settings file in an editor", ("omniagent config edit", "EDITOR=nano omniagent config edit")),
                "trust": Row("settings.commands:trust", "trust the settings file of this project", ("omniagent config trust", "omniagent config trust .omniagent.toml")),
            },
        ),
        "mcp": Row("settings.mcp:serve", "serve your sessions to other programs over MCP", ("omniagent mcp --store @work", "omniagent mcp --allow-write")),
        "acp": Row("talk.acp:serve", "run the agent for an editor over ACP", ("omniagent acp --store @work", "omniagent acp --offline")),
        "doctor": Row("doctor.commands:doctor", "check the installation and suggest fixes", ("omniagent doctor", "omniagent doctor --offline --json"), json=True),
        "help": Row("reference.help:explain", "show the manual, or the help of a command", ("omniagent help stores", "omniagent help sessions trim")),
        "completion": Group(
            "TAB completion for your shell",
            {
                "show": Row("settings.completion:show", "print the script for a shell", ("omniagent completion show zsh", "omniagent completion show bash > omniagent.bash")),
                "install": Row("settings.completion:install", "install the script for your shell", ("omniagent completion install", "omniagent completion install zsh")),
                "uninstall": Row("settings.completion:uninstall", "remove the installed script", ("omniagent completion uninstall", "omniagent completion uninstall fish")),
            },
        ),
    },
    sections={
        "Chat": "chat ask prompts",
        "Saved conversations": "sessions store",
        "Models": "models keys tools",
        "Setup and help": "config completion doctor help",
        "Other programs": "mcp acp",
    },
)  # fmt: skip

FIRST_STEPS = (
    ("omniagent chat", "chat with a model; -c continues the last session"),
    ("omniagent ask 'Why is the sky blue?'", "ask one question, also in scripts"),
    ("omniagent sessions", "your sessions: list, search, export"),
    ("omniagent keys set openai", "store an API key; a local server needs none"),
    ("omniagent completion install", "complete commands and ids with TAB"),
    ("omniagent doctor", "check the installation"),
    ("omniagent --help", "all commands"),
)
"""Introduction for new users: command lines and their help."""
