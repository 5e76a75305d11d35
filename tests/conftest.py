"""What every test lives in: an empty home of its own, and a network that ends at this machine."""

import gc
import itertools
import os
import re
import signal
import sys

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("omniagent_cli.testing")

from tests.sandbox import watch  # noqa: E402  # after the rewriting is asked for
from tests.servers.guardian import GUARDIAN  # noqa: E402

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

# Packages of Debian that tests need.
DEBIAN_PACKAGES = (
    "zsh",
    "fish",
    "shellcheck",
    "tmux",
    "chromium",
    "mandoc",
    "bash-completion",
    "redis-server",
    "postgresql",
    "pgbouncer",
)

HOMES = itertools.count()

# Examples of each property: few in every run, many in the long runs with --hypothesis-profile=soak.
settings.register_profile("quick", max_examples=15)
settings.register_profile("soak", max_examples=200)
settings.load_profile("quick")

sys.addaudithook(watch)

# In a job in the background it is ignored, which what tests start would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # pytest makes the factory of directories in this hook
def pytest_configure(config):
    """Guard the run: its processes and its temporary directories are gone when it is."""
    GUARDIAN.start(config._tmp_path_factory.getbasetemp())


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """Give each test an empty home and none of the person's settings."""
    directory = tmp_path_factory.getbasetemp() / "homes" / str(next(HOMES))
    directory.mkdir(mode=0o700, parents=True)  # mktemp looks through all earlier ones
    for name in list(os.environ):
        if name.startswith(VARIABLES) or name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(directory))
    return directory


def pytest_collection_finish():
    """Leave the thousands of collected tests out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)  # its line is printed after everything else
def pytest_sessionfinish(session, exitstatus):
    """Name in one line what was skipped and how to install what is missing; in CI a skip fails the run."""
    GUARDIAN.keep = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped") if reporter is not None else None
    failing = bool(skipped) and os.environ.get("CI") == "true" and exitstatus == 0
    if failing:
        session.exitstatus = 1
    result = yield
    if skipped and not hasattr(session.config, "workerinput"):
        reasons = " ".join(str(report.longrepr) for report in skipped)
        missing = [name for name in DEBIAN_PACKAGES if re.search(rf"\b{name}\b", reasons)]
        line = f"{len(skipped)} skipped"
        if missing:
            line += f": {', '.join(missing)} not installed. Install: apt-get install {' '.join(missing)}"
        reporter.write_line(line + "; CI=true allows no skip" * failing)
    return result
