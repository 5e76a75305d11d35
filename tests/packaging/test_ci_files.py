"""The ways in which the checks are started: by hand, before a commit, and by CI."""

import os
import re
import tomllib

import pytest
import yaml

from tests.__main__ import CHECKS
from tests.packaging.building import TOP


@pytest.fixture
def job():
    workflow = yaml.safe_load((TOP / ".github/workflows/ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    return job


def test_the_workflow_runs_what_is_run_by_hand(job):
    """The workflow is .ci/run on each Python, and .ci/run ends with the README's line for the tests."""
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert runs == ["bash .ci/run"]
    script = (TOP / ".ci/run").read_text()
    assert os.access(TOP / ".ci/run", os.X_OK)
    last = script.rstrip().splitlines()[-1]
    assert last.endswith(".venv/bin/python -m tests")
    assert f"\n{last}\n" in (TOP / "README.md").read_text()


def test_each_python_that_is_claimed_is_tested(job):
    """Each Python of the classifiers is in the workflow, which may try newer ones, and the oldest is what the wheel takes."""
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    claimed = [
        version
        for line in project["classifiers"]
        for version in re.findall(r"Python :: (3\.\d+)$", line)
    ]
    tried = job["strategy"]["matrix"]["python"]
    assert tried[: len(claimed)] == claimed
    assert project["requires-python"] == f">={claimed[0]}"


def test_before_a_commit_the_same_checks_run_without_a_network():
    """pre-commit has each check of python -m tests but the tests, all of them local programs."""
    config = yaml.safe_load((TOP / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    names = [hook["entry"].removeprefix(".venv/bin/").split()[0] for hook in repository["hooks"]]
    assert set(names) == {check[0] for check in CHECKS}
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
