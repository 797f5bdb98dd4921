"""The ten goals and their efficacy specifications: data, one visible list (B-001, B-010, §2)."""

from __future__ import annotations

from collections.abc import Mapping

from trimtab_decision.framework.goal import (
    AMOUNT,
    EfficacySpecification,
    GlobalIndicatorSpec,
    Goal,
    IndicatorSpec,
)

UNCLASSIFIED = EfficacySpecification()
"""Goals whose plans are not measured: no indicators, an empty global efficacy."""


def _percent(part: float, whole: float) -> float:
    """Part of whole in percent as a float; 0 when there is no whole (B-018)."""
    return float(part) / float(whole) * 100.0 if whole else 0.0


def _released_ratio(values: Mapping[str, float]) -> float:
    return _percent(values["released_compute_nodes_count"], values["compute_nodes_count"])


def _live_migrations(values: Mapping[str, float]) -> float:
    return _percent(values["instance_migrations_count"], values.get("instances_count", 0))


def _spread_removed(values: Mapping[str, float]) -> float:
    """The part of the spread that goes, 0..1: strategies measure it in units of their own."""
    before = values.get("standard_deviation_before_audit", 0.0)
    return 1.0 - values.get("standard_deviation_after_audit", before) / before if before else 0.0


def _planned_part(values: Mapping[str, float]) -> float:
    """The mean part of what should move that the plan moves, 0..1."""
    counts = [(values[f"planned_{count}"], values[count]) for count, _, _ in _MAINTENANCE_PAIRS]
    parts = [planned / wanted for planned, wanted in counts if wanted]
    return sum(parts) / len(parts) if parts else 0.0


SERVER_CONSOLIDATION = EfficacySpecification(
    indicators=(
        IndicatorSpec(
            name="compute_nodes_count",
            description="The total number of enabled compute nodes.",
        ),
        IndicatorSpec(
            name="released_compute_nodes_count",
            description="The number of compute nodes to be released.",
        ),
        IndicatorSpec(
            name="instance_migrations_count",
            description="The number of VM migrations to be performed.",
        ),
    ),
    global_indicators=(
        GlobalIndicatorSpec(
            name="released_nodes_ratio",
            description="Ratio of released compute nodes divided by the total number of enabled "
            "compute nodes.",
            unit="%",
            formula=_released_ratio,
        ),
    ),
    objective=_released_ratio,
)

WORKLOAD_BALANCING = EfficacySpecification(
    indicators=(
        IndicatorSpec(
            name="instance_migrations_count",
            description="The number of VM migrations to be performed.",
        ),
        IndicatorSpec(
            name="instances_count",
            description="The total number of audited instances in strategy.",
            required=False,
        ),
        IndicatorSpec(
            name="standard_deviation_before_audit",
            description="The value of original standard deviation.",
            schema=AMOUNT,
            required=False,
        ),
        IndicatorSpec(
            name="standard_deviation_after_audit",
            description="The value of resulted standard deviation.",
            schema=AMOUNT,
            required=False,
        ),
    ),
    global_indicators=(
        GlobalIndicatorSpec(
            name="live_migrations_count",
            description="Ratio of migrated virtual machines to audited virtual machines",
            unit="%",
            formula=_live_migrations,
        ),
    ),
    objective=_spread_removed,
)

_MAINTENANCE_PAIRS = (
    ("live_migrate_instance_count", "live_instance_migrate_ratio", "instances to live migrate"),
    ("cold_migrate_instance_count", "cold_instance_migrate_ratio", "instances to cold migrate"),
    ("volume_migrate_count", "volume_migrate_ratio", "detached volumes to migrate"),
    ("volume_update_count", "volume_update_ratio", "attached volumes to migrate"),
)


def _planned_ratio(name: str, count: str, what: str) -> GlobalIndicatorSpec:
    def formula(values: Mapping[str, float]) -> float:
        return _percent(values[f"planned_{count}"], values[count])

    return GlobalIndicatorSpec(
        name=name,
        description=f"Ratio of {what} that the plan moves to those that should move.",
        unit="%",
        formula=formula,
    )


HARDWARE_MAINTENANCE = EfficacySpecification(
    indicators=tuple(
        IndicatorSpec(name=f"{prefix}{count}", description=f"The number of {text}{what}.")
        for count, _, what in _MAINTENANCE_PAIRS
        for prefix, text in (("", ""), ("planned_", "planned "))
    ),
    global_indicators=tuple(
        _planned_ratio(ratio, count, what) for count, ratio, what in _MAINTENANCE_PAIRS
    ),
)

GOALS: tuple[Goal, ...] = (
    Goal(name="airflow_optimization", display_name="Airflow Optimization"),
    Goal(name="cluster_maintaining", display_name="Cluster Maintaining"),
    Goal(name="dummy", display_name="Dummy goal"),
    Goal(
        name="hardware_maintenance",
        display_name="Hardware Maintenance",
        efficacy=HARDWARE_MAINTENANCE,
    ),
    Goal(name="noisy_neighbor", display_name="Noisy Neighbor"),
    Goal(name="saving_energy", display_name="Saving Energy"),
    Goal(
        name="server_consolidation",
        display_name="Server Consolidation",
        efficacy=SERVER_CONSOLIDATION,
    ),
    Goal(name="thermal_optimization", display_name="Thermal Optimization"),
    Goal(name="unclassified", display_name="Unclassified"),
    Goal(
        name="workload_balancing",
        display_name="Workload Balancing",
        efficacy=WORKLOAD_BALANCING,
    ),
)
"""Every goal, by name. Watcher's clients see the same ten (B-001)."""
