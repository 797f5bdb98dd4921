"""Runs the tests of a real OpenStack cloud: brings the cloud up, runs tests/cloud, takes it down.

The cloud's scripts are in the folder that TRIMTAB_REFERENCE names (cloud/up, cloud/metrics,
cloud/down). `smoke` leaves out the tests marked slow. Set TRIMTAB_KEEP_CLOUD=1 to leave the
cloud running for the next round.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests" / "cloud"
HOSTS = {"smoke": "6", "all": "12"}
MARKS = {"smoke": "not slow", "all": "cloud or not cloud"}


def run(*command: str | Path) -> int:
    """Runs a command with our own streams; returns its exit code."""
    return subprocess.run([str(part) for part in command], check=False, cwd=ROOT).returncode  # noqa: S603, fixed commands


def main(arguments: Sequence[str], *, tests: Path = TESTS, run: Callable[..., int] = run) -> int:
    """The command; returns its exit code. `run` carries out each step and returns its exit code."""
    if len(arguments) != 1 or arguments[0] not in HOSTS:
        print(f"usage: cloud_tests.py {'|'.join(HOSTS)}")
        return 2
    size = arguments[0]
    if not list(tests.rglob("test_*.py")):
        print("There is no cloud test yet (tests/cloud is empty), so there is nothing to run.")
        return 0
    named = os.environ.get("TRIMTAB_REFERENCE")
    cloud = Path(named).resolve() / "cloud" if named else None
    if cloud is None or not (cloud / "up").is_file():
        print(
            "Set TRIMTAB_REFERENCE to the reference folder: its cloud/up starts the OpenStack to test on."
        )
        return 1
    try:
        code = run(cloud / "up", HOSTS[size]) or run(cloud / "metrics", "up")
        if code:
            print(f"the cloud did not come up (exit {code}); its log is in $CLOUD_HOME/log")
            return code
        return run(
            sys.executable,
            *("-m", "pytest", tests, "-m", MARKS[size]),
            f"--junitxml={ROOT / 'build' / f'junit-cloud-{size}.xml'}",
        )
    finally:
        if not os.environ.get("TRIMTAB_KEEP_CLOUD"):
            run(cloud / "down")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
