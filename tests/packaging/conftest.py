"""The wheel is built once and installed once, however many workers run the tests."""

import pytest

from tests.packaging.building import Built, Installed, build, install, once, shared


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The wheel and the sdist of this tree."""
    place = shared(tmp_path_factory) / "built"
    with once(place) as mine:
        if mine:
            build(place)
    return Built(place)


@pytest.fixture(scope="session")
def environment(built, tmp_path_factory):
    """Where the wheel is installed, with nothing that it does not need."""
    place = shared(tmp_path_factory) / "clean"
    with once(place) as mine:
        if mine:
            install(built, place)
    return place


@pytest.fixture
def clean(environment, home):
    """Programs of the clean environment, in the test's empty home."""
    return Installed(environment, home)
