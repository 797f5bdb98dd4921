"""dummy_scorer: names the kind of workload from nine measurements, by fixed thresholds (B-315).

A sample for authors of engines: a real one would hold a trained model. The row of features is
(processor %, total memory, available memory, page reads/s, page writes/s, disk read B/s,
disk write B/s, network received, network sent).

Worked example: a processor at 90 % is CPU-intensive whatever the rest, so (90, 0, 0, 0, 0, 0, 0,
0, 0) scores (1, 0, 100, 0, 0): workload 1, probability of idle 0, of CPU 100, memory 0, disk 0.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from trimtab_scoring.engine import check_row

_BUSY_CPU_PCT = 80
_HALF_BUSY_CPU_PCT = 40
_BUSY_PAGES_PER_S = 1000
_HALF_BUSY_PAGES_PER_S = 500
_BUSY_DISK_BYTES_PER_S = 50 * 1024 * 1024

_FEATURES = (
    "PROCESSOR_TIME_PERC",
    "MEM_TOTAL_BYTES",
    "MEM_AVAIL_BYTES",
    "MEM_PAGE_READS_PER_SEC",
    "MEM_PAGE_WRITES_PER_SEC",
    "DISK_READ_BYTES_PER_SEC",
    "DISK_WRITE_BYTES_PER_SEC",
    "NET_BYTES_RECEIVED_PER_SEC",
    "NET_BYTES_SENT_PER_SEC",
)
_UNITS = ("%", "B", "B", "1/s", "1/s", "B/s", "B/s", "B/s", "B/s")
_RESULTS = (
    "workload",
    "idle-probability",
    "cpu-probability",
    "memory-probability",
    "disk-probability",
)
_WORKLOADS = ("idle", "cpu-intensive", "memory-intensive", "disk-intensive")


class DummyScorer:
    """The sample engine."""

    name: ClassVar[str] = "dummy_scorer"
    description: ClassVar[str] = "Dummy workload classifier"
    n_features: ClassVar[int | None] = len(_FEATURES)
    n_scores: ClassVar[int | None] = len(_RESULTS)
    metainfo: ClassVar[str] = json.dumps(
        {
            "feature_columns": _FEATURES,
            "feature_units": _UNITS,
            "result_columns": _RESULTS,
            "result_units": ("", "%", "%", "%", "%"),
            "workloads": _WORKLOADS,
        }
    )

    def calculate_score(self, features: Sequence[float]) -> Sequence[float]:
        """(workload, idle %, cpu %, memory %, disk %); FeaturesRefused unless nine features."""
        check_row(self, features)
        cpu_pct, _total, _available, reads, writes, disk_read, disk_write, _in, _out = features
        if cpu_pct >= _BUSY_CPU_PCT:
            return (1, 0, 100, 0, 0)
        if reads >= _BUSY_PAGES_PER_S and writes >= _BUSY_PAGES_PER_S:
            return (2, 0, 0, 100, 0)
        if disk_read >= _BUSY_DISK_BYTES_PER_S and disk_write >= _BUSY_DISK_BYTES_PER_S:
            return (3, 0, 0, 0, 100)
        cpu = 50 if cpu_pct >= _HALF_BUSY_CPU_PCT else 0
        memory = 50 if max(reads, writes) >= _HALF_BUSY_PAGES_PER_S else 0
        return (0, 100, cpu, memory, 0)
