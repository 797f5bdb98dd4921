"""Environments and processes of the real backends: each ends with the test that started it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

HOMES = Path(os.environ.get("TRIMTAB_BACKENDS", Path(__file__).parents[2] / "build" / "backends"))


def environment(name, packages):
    """A virtual environment with these packages, made once."""
    key = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]
    home = HOMES / f"{name}-{key}"
    if not (home / ".complete").exists():
        uv = Path(sys.executable).parent / "uv"
        run([uv, "venv", "-q", "--clear", "--python", sys.executable, home], timeout_s=120)
        run([uv, "pip", "install", "-q", "--python", home / "bin/python", *packages], timeout_s=300)
        (home / ".complete").touch()
    return home


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(command, timeout_s, **options):
    done = subprocess.run(
        [str(part) for part in command],
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ends with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def running(command, log, answers_at="", limit_s=60, env=None):
    """A process in a group of its own, until the block ends."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(env or {})},
        )
    try:
        if answers_at:
            _await(process, answers_at, limit_s, log)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)


def _await(process, url, limit_s, log):
    ends = time.monotonic() + limit_s
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(url, timeout=5, trust_env=False)
            return
        time.sleep(0.2)
    raise RuntimeError(f"nobody answers at {url}: {log.read_text()[-2000:]}")
