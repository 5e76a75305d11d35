"""The border around the tests themselves."""

import os
import socket
from pathlib import Path

import pytest

from tests.sandbox import REAL_HOME, OutsideError


def test_no_test_reaches_the_network():
    """A connection to anywhere but this machine is stopped before it is tried."""
    with socket.socket() as out, pytest.raises(OutsideError):
        out.connect(("192.0.2.1", 80))


def test_no_test_writes_the_real_home(home):
    """HOME is an empty directory of the test's own, and the real one is out of reach."""
    assert Path(os.environ["HOME"]) == home
    assert list(home.iterdir()) == []
    with pytest.raises(OutsideError):
        (REAL_HOME / ".config/omniagent-test").open("w")
