"""The wheel and the sdist of this tree, and an environment that holds the wheel and what it says it needs.

Nothing is asked from a package index: what the wheel needs is linked from the environment of the tests, so that
whatever else is installed there is missing from the clean one.
"""

import fcntl
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from contextlib import contextmanager
from email.parser import Parser
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement  # pytest brings it
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[2]


class Built:
    """What was built: `wheel` and `sdist` from the tree, `again` the wheel from the unpacked `sdist`."""

    def __init__(self, place: Path) -> None:
        self.wheel, self.again = (next((place / part).glob("*.whl")) for part in ("tree", "again"))
        self.sdist = next((place / "tree").glob("*.tar.gz"))

    def wheel_files(self) -> dict[str, bytes]:
        return wheel_files(self.wheel)

    def sdist_files(self) -> dict[str, bytes]:
        return sdist_files(self.sdist)

    def about(self):
        """Return the wheel's METADATA, its headers by name."""
        files = self.wheel_files()
        name = next(name for name in files if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(files[name].decode())


def wheel_files(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def sdist_files(sdist: Path) -> dict[str, bytes]:
    """Return the files of an sdist by their names below its one directory."""
    with tarfile.open(sdist) as archive:
        files = [
            (member.name, archive.extractfile(member)) for member in archive if member.isfile()
        ]
        return {name.partition("/")[2]: file.read() for name, file in files}


@contextmanager
def once(place: Path):
    """Yield whether this process is the one that makes `place`; the others wait until it is made."""
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = place.with_suffix(".made")
        yield not made.exists()
        made.touch()


def build(place: Path) -> None:
    """Build everything, with the back end alone and no network."""
    _hatchling(TOP, place / "tree", "sdist", "wheel")
    (sdist,) = (place / "tree").glob("*.tar.gz")
    for name, data in sdist_files(sdist).items():
        file = place / "sources" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    _hatchling(place / "sources", place / "again", "wheel")


def _hatchling(sources: Path, place: Path, *targets: str) -> None:
    named = [word for target in targets for word in ("-t", target)]
    command = [sys.executable, "-m", "hatchling", "build", *named, "-d", place]
    subprocess.run(command, cwd=sources, check=True, capture_output=True)


def install(built: Built, place: Path) -> None:
    """Make a clean environment and install the wheel into it, without extras."""
    venv.create(place, with_pip=False)
    packages = _packages(place)
    for name in sorted(needed(built)):
        for file in metadata.files(name) or ():
            if ".." not in file.parts:
                (packages / file).parent.mkdir(parents=True, exist_ok=True)
                (packages / file).symlink_to(file.locate())
    pip = [sys.executable, "-m", "pip", "--python", place / "bin/python"]
    offline = ["install", "-q", "--no-index", "--no-deps", built.wheel]
    for words in (offline, ["check"]):
        done = subprocess.run([*pip, *words], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def _packages(place: Path) -> Path:
    (found,) = place.glob("lib/python*/site-packages")
    return found


def needed(built: Built, *extras: str) -> set[str]:
    """Return the distributions that the wheel needs here with these extras, and what those need."""
    found: set[str] = set()
    lines = built.about().get_all("Requires-Dist")
    waiting = [(line, extra) for line in lines for extra in ("", *extras)]
    seen = set(waiting)
    while waiting:
        line, extra = waiting.pop()
        wish = Requirement(line)
        if wish.marker is not None and not wish.marker.evaluate({"extra": extra}):
            continue
        found.add(canonicalize_name(wish.name))
        below = metadata.requires(wish.name) or ()
        new = {(line, extra) for line in below for extra in ("", *wish.extras)} - seen
        seen |= new
        waiting += new
    return found


class Installed:
    """A clean environment, and a person's empty home."""

    def __init__(self, place: Path, home: Path) -> None:
        self.place, self.home = place, home
        self.environ = {
            "PATH": f"{place / 'bin'}:/usr/bin:/bin",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "OMNIAGENT_MODEL": "recall",
        }

    def __call__(self, *words, stdin="", code=0, **environ) -> str:
        """Run a program of the environment in the home and return what it printed; `code` is how it has to end."""
        done = subprocess.run(
            [self.place / "bin" / words[0], *words[1:]],
            input=stdin,
            cwd=self.home,
            env=self.environ | environ,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def shared(factory) -> Path:
    """Return a directory that all workers of this run have in common."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
