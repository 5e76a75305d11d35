"""What the tests of the Responses engine share."""

from omniagent_cli import Agent, Tool
from omniagent_cli.agent.models.providers import PROVIDERS, Endpoint
from omniagent_cli.agent.models.responses import ResponsesEngine
from tests.agent.asking import KEY
from tests.servers.chat_server import Reply

SCHEMA = {
    "title": "A dish",
    "type": "object",
    "properties": {"name": {"type": "string"}},
    "required": ["name"],
    "additionalProperties": False,
}


def engine_for(server, model="m", provider="openai"):
    endpoint = Endpoint(PROVIDERS[provider], model, server.url, KEY)
    return ResponsesEngine(endpoint, backoff_seconds=0.01)


def weather(city: str) -> str:
    """Say how the weather is in a city."""
    return f"{city}: rain"


WEATHER = Tool.from_function(weather)


def agent_for(server, store, model="m", **options):
    return Agent(engine_for(server, model), store=store, tools=[WEATHER], **options)


def inputs(server):
    """Return the input items of the requests that were not refused."""
    return [body["input"] for body in server.chats() if isinstance(body, dict)]


def user(said):
    return {"type": "message", "role": "user", "content": said}


def as_sent(events):
    """Make a reply of these parts."""
    return Reply(list(events), done=False)
