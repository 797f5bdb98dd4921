"""What /proc says about processes: CPU seconds, memory, file descriptors."""

from __future__ import annotations

import os
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all that it started, and those started."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def cpu_s(pid: int) -> float:
    """User and system CPU seconds so far; 0.0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def _of(path: str, name: str) -> float:
    try:
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def rss_mib(pid: int) -> float:
    """Resident memory, shared pages included."""
    return _of(f"/proc/{pid}/status", "VmRSS:")


def peak_mib(pid: int) -> float:
    """The most resident memory it ever had."""
    return _of(f"/proc/{pid}/status", "VmHWM:")


def pss_mib(pid: int) -> float:
    """Resident memory, shared pages divided by those who share them."""
    return _of(f"/proc/{pid}/smaps_rollup", "Pss:")


def fds(pid: int) -> int:
    """Open file descriptors."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line nearest to the points."""
    n = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    over = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / over if over else 0.0


def exact_cpu_s(pid: int) -> float:
    """As `cpu_s`, by the scheduler's nanoseconds; of the threads that live now."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except OSError:
            continue
    return total / 1e9
