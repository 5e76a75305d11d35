"""Everything that must pass, in one command: style, types, arrows between modules, tests.

python -m tests [what to hand on to pytest]

Long runs are left out: ``python -m tests -m soak`` is all of them, and ``--hypothesis-profile=soak`` draws 200 examples
of each property instead of 15.
"""

import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def main() -> int:
    """Run each check, then the tests; return 0 when all pass."""
    tools = Path(sys.executable).parent
    failed = []
    for check in CHECKS:
        print("+", *check, flush=True)
        if subprocess.run([tools / check[0], *check[1:]], cwd=TOP, check=False).returncode:
            failed.append(check[0])
    tests = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "auto",
        "--dist",
        "worksteal",
        "-m",
        "not soak",
        *sys.argv[1:],
    ]
    # Bytecode makes the hundreds of short processes that the tests start three times as fast.
    environ = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK):  # memory: the tests sync often
        environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/dev/shm")
    print("+ pytest", *sys.argv[1:], flush=True)
    if subprocess.run(tests, cwd=TOP, env=environ, check=False).returncode:
        failed.append("pytest")
    if failed:
        print("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
