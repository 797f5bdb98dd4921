"""Who holds a lease: a name for this process, from which others on this machine can tell that it ended.

A process that was killed gives nothing back. On its own machine, within its own view of the process
ids, its end can be proved; elsewhere only time proves it. Two machines with one host name, and
containers that do not see each other's processes, prove nothing. TRIMTAB_MACHINE (hexadecimal) names
another machine: tests play two on one.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from uuid import uuid4

_OWNER = re.compile(r"[^/]*/(?P<machine>[0-9a-f-]+)/(?P<pid>\d+)\.(?P<started>\d+)/[0-9a-f]+")
_ENDED = {"Z", "X"}  # a zombie runs nothing any more
PLAYED = "TRIMTAB_MACHINE"
_STATE, _STARTED = 0, 19
"""Places of two fields of /proc/PID/stat behind the name: proc_pid_stat(5) has them as 3 and 22."""


def owner_name(service: str, host: str) -> str:
    """A name that no other process has, ever: service@host/machine/pid.started/random."""
    pid = os.getpid()
    started = _stat(pid)[_STARTED] if _stat(pid) else "0"
    return f"{service}@{host.replace('/', '-')}/{_machine()}/{pid}.{started}/{uuid4().hex[:8]}"


def host_of(owner: str) -> str:
    """The host within an owner's name; the name itself when it has none."""
    return owner.partition("/")[0].rpartition("@")[2]


def has_ended(owner: str) -> bool:
    """Whether the process of this name is known to have ended; False: it runs, or nobody knows."""
    parts = _OWNER.fullmatch(owner)
    if parts is None or parts["machine"] != _machine() or _machine() == _NOWHERE:
        return False
    stat = _stat(int(parts["pid"]))
    return not stat or stat[_STATE] in _ENDED or stat[_STARTED] != parts["started"]


_NOWHERE = "0"


@cache
def _machine() -> str:
    """This boot of this machine and this view of the process ids."""
    if played := os.environ.get(PLAYED):
        return played
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino:x}"
    except OSError:
        return _NOWHERE


def _stat(pid: int) -> list[str]:
    """The fields behind the name; empty when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
