"""The line about skipped tests at the end of a run, and the failure it is in CI."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent

_TESTS = """
import pytest

def test_that_runs():
    pass

@pytest.mark.skipif(True, reason="{reason}")
def test_that_is_skipped():
    pass
"""
_REPORT = "1 skipped: fish, tmux not installed. Install: apt-get install fish tmux"


def _run(tmp_path, *options, reason="needs tmux and fish", **environ):
    """Run one test and a skipped one; return the exit code and the last line of the output."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(_TESTS.format(reason=reason))
    kept = {key: text for key, text in os.environ.items() if "XDIST" not in key and key != "CI"}
    argv = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "xdist", "-p", "no:cacheprovider", "-c", "/dev/null"]  # fmt: skip
    ran = subprocess.run(
        [*argv, f"--rootdir={tmp_path}", *options, str(tmp_path / "test_it.py")],
        cwd=TOP,
        env={
            **kept,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(TOP),
            "PYTEST_DEBUG_TEMPROOT": str(tmp_path),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return ran.returncode, ran.stdout.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_skip_is_named_with_the_packages_it_needs(tmp_path, options):
    """The last line counts the skipped tests and says how to install what they need; the run passes."""
    assert _run(tmp_path, *options) == (0, _REPORT)


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "xdist"])
def test_a_skip_fails_in_ci(tmp_path, options):
    """With CI=true the same run fails, and says why."""
    assert _run(tmp_path, *options, CI="true") == (1, f"{_REPORT}; CI=true allows no skip")


def test_a_skip_for_another_reason(tmp_path):
    """A skip that no package helps is counted alone."""
    assert _run(tmp_path, reason="this system has no signals") == (0, "1 skipped")


def test_a_run_without_skips(tmp_path):
    """Without skips there is no such line, and CI passes."""
    code, last = _run(tmp_path, "-k", "that_runs", CI="true")
    assert code == 0
    assert last.startswith("1 passed")
