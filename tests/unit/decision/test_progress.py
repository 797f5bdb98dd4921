"""Strategies tell better and better plans while they search, the last of them no better than their plan."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_common.rules import parameters
from trimtab_decision import execution
from trimtab_decision.execution import Desk, Execution
from trimtab_decision.plugins import load_registry


def uneven_cloud(seed):
    rng = np.random.default_rng(seed)
    hosts = [host(f"h{i:02d}", cpu_pct=float(rng.uniform(5, 70))) for i in range(40)]
    servers = [
        server(
            f"vm-{i}",
            f"h{min(39, int(rng.exponential(12))):02d}",
            vcpus=1,
            memory=int(rng.choice([512, 1024])),
            cpu_pct=float(rng.uniform(5, 100)),
        )
        for i in range(200)
    ]
    return cloud(hosts, servers)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("strategy", "given"),
    [
        ("basic", {}),
        ("vm_workload_consolidation", {}),
        ("node_resource_consolidation", {}),
        (
            "workload_stabilization",
            {"metrics": ["instance_cpu_usage"], "thresholds": {"instance_cpu_usage": 0.01}},
        ),
    ],
)
def test_what_is_told_gets_better_until_the_plan(strategy, given, seed, monkeypatch):
    monkeypatch.setattr(execution, "TELL_AFTER_S", 0.0)
    monkeypatch.setattr(execution, "TELL_EVERY_S", 0.0)
    registry = load_registry(entry_points=False)
    schema = registry.strategy(strategy).parameters_schema
    snapshot, metrics = uneven_cloud(seed)
    question = Execution(
        strategy=strategy,
        parameters=parameters.checked(given, schema),
        compute=snapshot,
        metrics=metrics,
    )
    desk, told = Desk(registry), []
    desk.execute(question, told.append)
    value = desk._solution.stats["value"]
    ranks = [(one.value, one.moves) for one in told]
    assert ranks
    assert ranks == sorted(set(ranks), reverse=True)
    assert ranks[-1][0] >= value - 1e-9
    assert all(one.bound is None or one.bound <= value for one in told)
