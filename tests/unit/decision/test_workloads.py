"""Strategies choose servers by the workload character in their metadata."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_common.domain.snapshot import MetricsTable
from trimtab_common.rules import workload_grammar
from trimtab_decision.framework import Strategy, StrategyContext

TEXTS = [
    "cpu_bound: vcpus = 2 [-20] or cpu_util > 90 [19]",
    "cpu_bound: vcpus = 8 [-20] or cpu_util > 90 [19]",
    "big_data: memory.usage > 2000 MB and disk.device.iops < 1500",
    "eval('1')",
    "",
]


@pytest.fixture
def context():
    snapshot, _ = cloud([host("a")], [server(name, "a", vcpus=2) for name in "vwxyz"])
    metadata = {index: {workload_grammar.KEY: text} for index, text in enumerate(TEXTS) if text}
    table = MetricsTable(
        server={
            "instance_cpu_usage": np.array([10.0, 95.0, 10.0, 10.0, 10.0]),
            "instance_ram_usage": np.array([0, 0, 4000.0, 0, 0]),
        }
    )
    return StrategyContext(compute=replace(snapshot, server_metadata=metadata), metrics=table)


@pytest.mark.req("B-324", "B-322")
def test_servers_are_chosen_by_their_character_and_bad_texts_are_passed_over(context):
    workloads = context.workloads
    assert sorted(workloads.characters) == [0, 1, 2]
    assert workloads.matching().tolist() == [True, True, False, False, False]
    assert workloads.matching(name="big_data").sum() == 0
    assert workloads.matching(threshold=0.9).tolist() == [True, False, False, False, False]
    assert workloads.evaluation(2) is None  # nothing measures its iops


@pytest.mark.req("B-324")
def test_a_metric_is_found_by_its_own_name(context):
    iops = np.full(5, 100.0)
    table = MetricsTable(server={**context.metrics.server, "disk.device.iops": iops})
    assert replace(context, metrics=table).workloads.matching(name="big_data")[2]


@pytest.mark.req("B-324")
def test_a_strategy_acts_on_those_alone(context):
    class Throttled(Strategy):
        name, display_name, goal_name = "throttled", "Throttled", "dummy"

        def do_execute(self, context, solution):
            for index in np.flatnonzero(context.workloads.matching(name="cpu_bound")):
                solution.add_action(
                    "nop",
                    input_parameters={"message": context.snapshot.server_name[index]},
                    reason="Its work is bound by the processor.",
                )

    solution = Throttled().execute(context)
    assert len(solution.actions) == 2
