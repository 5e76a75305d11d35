"""What every test lives in: an empty home of its own, and a network that ends at this machine."""

import os
import signal
import sys

import pytest

pytest.register_assert_rewrite("omniagent_cli.testing")

from tests.sandbox import watch  # noqa: E402  # after the rewriting is asked for

VARIABLES = (
    "OMNIAGENT_",
    "XDG_",
    "OPENAI_",
    "ANTHROPIC_",
    "GEMINI_",
    "GOOGLE_",
    "OLLAMA_",
    "SSL",
    "NO_COLOR",
    "FORCE_COLOR",
)

sys.addaudithook(watch)

# In a job in the background it is ignored, which what tests start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Give each test an empty home and none of the person's settings."""
    directory = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name.startswith(VARIABLES) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(directory))
    return directory


def pytest_sessionfinish(session, exitstatus):
    """In CI nothing is skipped: a missing shell or server is a failure there."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if (
        os.environ.get("CI") == "true"
        and reporter is not None
        and reporter.stats.get("skipped")
        and exitstatus == 0
    ):
        reporter.write_line("tests were skipped, which CI does not allow")
        session.exitstatus = 1
