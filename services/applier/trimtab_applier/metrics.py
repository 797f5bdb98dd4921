"""What the applier counts for Prometheus; served by the runtime beside the gRPC port."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

ACTIONS = Counter(
    "trimtab_applier_actions", "Actions that ended here, by type and state.", ["type", "state"]
)
REVERTS = Counter(
    "trimtab_applier_reverts",
    "Actions of failed plans that were undone here, by type and outcome.",
    ["type", "outcome"],
)
PLANS = Counter("trimtab_applier_plans", "Action plans that ended here, by state.", ["state"])
PLANS_RUNNING = Gauge("trimtab_applier_plans_running", "Action plans that run here now.")
