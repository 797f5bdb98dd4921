"""Child processes that end when we do, are started again when they fail, and tell why they failed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MAX_RESTARTS = 5
"""In a row. A process that ran for STABLE_S has recovered: rare crashes never add up to an end."""
STABLE_S = 60.0
GRACE_S = 8.0
_END_WITH_PARENT = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(parent):
    sys.exit("whoever started this has ended already")
os.execvp(command[0], command)
"""
"""Run by an interpreter that becomes the command: SIGTERM when the parent dies, however it dies.

Not done by `preexec_fn`, with which Python forks in full: gRPC's own handlers then run in the child and, when
another thread of ours is in a call, abort it (exit code -6) before its program begins.
"""


class StartError(Exception):
    """A process ended before it was ready; the text holds the end of its log."""


@dataclass(slots=True)
class Child:
    """One supervised process. Its output goes to `log`."""

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    started_at: float = field(default=0.0)
    log_offset: int = 0

    def start(self) -> None:
        """Starts it, its output appended to the log."""
        with self.log.open("ab") as output:
            self.log_offset = output.tell()
            begin = (sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, str(os.getpid()))
            self.process = subprocess.Popen(  # noqa: S603, our own commands
                [*begin, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(self.environment),
            )
        self.started_at = time.monotonic()

    @property
    def pid(self) -> int:
        """The process id; 0 when it is not running."""
        return self.process.pid if self.process and self.process.poll() is None else 0

    def tail(self, lines: int = 15) -> str:
        """The end of what it wrote since it was last started."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as written:
            written.seek(self.log_offset)
            text = written.read().decode(errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def check(self) -> None:
        """StartError when it has ended."""
        if self.process is not None and (code := self.process.poll()) is not None:
            raise StartError(f"{self.name} ended with exit code {code}:\n{self.tail()}")


class Supervisor:
    """Starts children in order, restarts those that fail, stops them in reverse."""

    def __init__(self) -> None:
        self.children: list[Child] = []

    def add(self, child: Child) -> Child:
        """Starts a child and keeps it."""
        child.start()
        self.children.append(child)
        return child

    def restart_failed(self) -> list[str]:
        """Starts again what has ended; gives a line for each. StartError past the cap."""
        lines = []
        for child in self.children:
            if child.process is None or (code := child.process.poll()) is None:
                continue
            if time.monotonic() - child.started_at >= STABLE_S:
                child.restarts = 0
            if child.restarts >= MAX_RESTARTS:
                raise StartError(
                    f"{child.name} ended {child.restarts + 1} times in a row, last with exit code {code}:\n"
                    f"{child.tail()}"
                )
            child.restarts += 1
            lines.append(f"{child.name} ended with exit code {code}; started again")
            child.start()
        return lines

    def stop(self) -> None:
        """SIGTERM to all in reverse order, SIGKILL to what is left after the grace time."""
        for child in reversed(self.children):
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + GRACE_S
        for child in reversed(self.children):
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
