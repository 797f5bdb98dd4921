"""Where the compute model comes from: the face that collector's replica and tests' fakes show."""

from __future__ import annotations

from typing import Protocol

from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_decision.errors import ClusterStateStale
from trimtab_decision.framework.errors import ClusterStateNotDefined


class ModelSource(Protocol):
    """The newest compute model that this process knows; `ModelReplica` is one."""

    @property
    def ready(self) -> bool:
        """Whether there ever was a model."""

    @property
    def age_s(self) -> float:
        """Seconds since the cloud last confirmed its content."""

    problem: str
    """Why there is no model, or why it does not follow the cloud; may be out of date."""

    def snapshot(self) -> ComputeSnapshot:
        """The content now, immutable."""


def current(source: ModelSource, *, max_age_s: float) -> ComputeSnapshot:
    """The model, fit for planning.

    ClusterStateNotDefined when it was never built, ClusterStateStale when it is too old or
    collector itself calls it stale (B-036, C-009).
    """
    if not source.ready:
        raise ClusterStateNotDefined(
            f"The cluster state is not defined: {source.problem}. "
            "Create the audit again when collector has read the cloud; its log says more."
        )
    snapshot = source.snapshot()
    if snapshot.stale_reason:
        raise ClusterStateStale(
            f"The cluster state is stale: {snapshot.stale_reason}. "
            "Create the audit again when collector reads the cloud."
        )
    if source.age_s > max_age_s:
        raise ClusterStateStale(
            f"The cluster state is stale: last confirmed {source.age_s:.0f} s ago, allowed are "
            f"{max_age_s:.0f} s (max_model_age_s). Check that collector runs and is reachable."
        )
    return snapshot
