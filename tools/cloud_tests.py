"""Runs the tests of a real OpenStack cloud: brings the cloud up, runs them, takes the cloud down.

The cloud's scripts are in the folder that TRIMTAB_REFERENCE names (cloud/up, cloud/seed,
cloud/metrics, cloud/down); its state is in CLOUD_HOME (/opt/devcloud). The tests are all that are
marked `cloud`, in whatever folder; `smoke` leaves out those that are also marked `slow`.

A cloud that was up before stays up; TRIMTAB_KEEP_CLOUD=1 also leaves one that was started here.
Each step has a limit, and SIGTERM or Ctrl-C ends the step that runs and takes the cloud down.
`client` only installs the stock client (python-openstackclient with python-watcherclient) into
build/stock-client, an environment of its own: it must not share libraries with what it tests.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
CLIENT = ROOT / "build" / "stock-client"
KEYSTONE_PORT = 5000
HOSTS, SERVERS = "6", "30"
MARKS = {"smoke": "cloud and not slow", "all": "cloud"}
UP_LIMIT_S = 900.0
"""The first time it installs OpenStack, a database and a broker: 190 s on a quiet machine."""
SEED_LIMIT_S = 300.0
METRICS_LIMIT_S = 180.0
CLIENT_LIMIT_S = 240.0
DOWN_LIMIT_S = 60.0
END_LIMIT_S = 15.0
TESTS_LIMIT_S = {"smoke": 540.0, "all": 3600.0}
OPERATIONS, OPERATION_LIMIT_S = 300, 8.0
"""The limit of all tests holds for so many random operations; more take so much longer, each."""
TIMED_OUT = 124
DEFAULT_RECEIPT_KEYS = Path("/etc/keystone/fernet-keys")


class _Stop:
    """SIGTERM and Ctrl-C: at once, or, while a step is being started, when its process is known."""

    is_put_off = False
    is_asked = False

    @classmethod
    def handle(cls, _signal: int, _frame: object) -> None:
        if not cls.is_put_off:
            raise KeyboardInterrupt
        cls.is_asked = True

    @classmethod
    @contextlib.contextmanager
    def put_off(cls) -> Iterator[type[_Stop]]:
        cls.is_put_off = True
        try:
            yield cls
        finally:
            cls.is_put_off = False

    @classmethod
    def now_if_asked(cls) -> None:
        asked, cls.is_asked = cls.is_asked, False
        if asked:
            raise KeyboardInterrupt


def run(*command: str | Path, limit_s: float, quiet: bool = False) -> int:
    """Runs a command in a session of its own; its exit code, or TIMED_OUT and all of it is ended."""
    output = subprocess.DEVNULL if quiet else None
    with _Stop.put_off() as stop:
        process = subprocess.Popen(  # noqa: S603, our own commands
            [str(part) for part in command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    with process:
        try:
            stop.now_if_asked()
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"{Path(command[0]).name} did not end within {limit_s:.0f} s")
            return TIMED_OUT
        finally:
            if process.poll() is None:
                _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the step and its children, SIGKILL to what is left of them after a while."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        end = time.monotonic() + END_LIMIT_S
        while _has_members(process) and time.monotonic() < end:
            time.sleep(0.02)


def _has_members(process: subprocess.Popen[bytes]) -> bool:
    """Whether anything of the step's session is left, once the step itself is reaped."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def is_up() -> bool:
    """Something answers at Keystone's port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", KEYSTONE_PORT)) == 0


def lay_receipt_keys(link: Path) -> None:
    """Gives Keystone the keys of its receipts, where it looks for them.

    Keystone 30 reads [fernet_receipts] key_repository while it loads, and ends when that folder is
    missing. The cloud's configuration sets only [fernet_tokens] key_repository, so that the former
    is the default, below /etc. Keys made for tokens serve receipts as well.
    """
    keys = Path(os.environ.get("CLOUD_HOME", "/opt/devcloud")) / "data" / "fernet"
    if link.exists() or link.is_symlink():
        return
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(keys)
    except OSError as error:
        print(f"{link} is missing and cannot be made ({error}); Keystone will not start")


def client_steps(client: Path = CLIENT) -> list[tuple[str | Path, ...]]:
    """The commands that install the stock client; none when it is there."""
    if (client / "bin" / "openstack").exists():
        return []
    python = client / "bin" / "python"
    uv = Path(sys.executable).parent / "uv"
    what = ("--group", "stock", "-c", ROOT / "constraints.txt")
    make = (sys.executable, "-m", "venv", client)
    if uv.exists():
        return [make, (uv, "pip", "install", "-q", "--python", python, *what)]
    newer = (python, "-m", "pip", "install", "-qq", "--upgrade", "pip>=25.1")
    return [make, newer, (python, "-m", "pip", "install", "-qq", *what)]


def install_client(run: Callable[..., int] = run) -> int:
    """The exit code."""
    for step in client_steps():
        if code := run(*step, limit_s=CLIENT_LIMIT_S):
            print(f"the stock client could not be installed (exit {code})")
            return code
    return 0


def main(
    arguments: Sequence[str],
    *,
    tests: Path = TESTS,
    run: Callable[..., int] = run,
    is_up: Callable[[], bool] = is_up,
    receipt_keys: Path = DEFAULT_RECEIPT_KEYS,
) -> int:
    """The command; returns its exit code. `run` carries out each step and returns its exit code."""
    if len(arguments) != 1 or arguments[0] not in {*MARKS, "client"}:
        print(f"usage: cloud_tests.py {'|'.join(MARKS)}|client")
        return 2
    size = arguments[0]
    if size == "client":
        return install_client(run)
    named = os.environ.get("TRIMTAB_REFERENCE")
    cloud = Path(named).resolve() / "cloud" if named else None
    if cloud is None or not (cloud / "up").is_file():
        print(
            "Set TRIMTAB_REFERENCE to the reference folder: its cloud/up starts the OpenStack to test on."
        )
        return 1
    keep = is_up() or bool(os.environ.get("TRIMTAB_KEEP_CLOUD"))
    try:
        lay_receipt_keys(receipt_keys)
        return bring_up(cloud, run) or install_client(run) or run_tests(size, tests, run)
    finally:
        if not keep:  # without a word, so that pytest's closing line is the last
            run(cloud / "down", limit_s=DOWN_LIMIT_S, quiet=True)


def bring_up(cloud: Path, run: Callable[..., int]) -> int:
    """The cloud, its servers and its metrics; repeatable. The exit code."""
    steps: list[tuple[tuple[str | Path, ...], float]] = [
        ((cloud / "up", HOSTS), UP_LIMIT_S),
        ((cloud / "seed", HOSTS, SERVERS), SEED_LIMIT_S),
        ((cloud / "metrics", "up"), METRICS_LIMIT_S),
    ]
    for command, limit_s in steps:
        if code := run(*command, limit_s=limit_s):
            print(f"the cloud did not come up (exit {code}); its logs are in $CLOUD_HOME/log")
            return code
    return 0


def tests_limit_s(size: str) -> float:
    """How long the tests may take; TRIMTAB_CLOUD_OPERATIONS above the usual number adds to it."""
    asked = int(os.environ.get("TRIMTAB_CLOUD_OPERATIONS") or OPERATIONS)
    more = max(0, asked - OPERATIONS) * OPERATION_LIMIT_S
    return TESTS_LIMIT_S[size] + (more if size == "all" else 0.0)


def run_tests(size: str, tests: Path, run: Callable[..., int]) -> int:
    """The exit code of pytest."""
    return run(
        sys.executable,
        *("-m", "pytest", tests, "-m", MARKS[size], "--durations=15"),
        f"--junitxml={ROOT / 'build' / f'junit-cloud-{size}.xml'}",
        limit_s=tests_limit_s(size),
    )


def command(arguments: Sequence[str], **machine: Any) -> int:
    """`main`, which SIGTERM and Ctrl-C end in order."""
    signal.signal(signal.SIGTERM, _Stop.handle)
    signal.signal(signal.SIGINT, _Stop.handle)
    try:
        return main(arguments, **machine)
    except KeyboardInterrupt:
        print("stopped")
        return 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
