"""What /metrics tells about audits."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

AUDIT_RUNS = Counter(
    "trimtab_audit_runs_total",
    "Runs of audits that ended, by how: succeeded, failed, given_up.",
    ["outcome"],
)
PLANNING_S = Histogram(
    "trimtab_planning_seconds",
    "From claiming an audit to its published plan, strategy and planner included.",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000),
)
