"""Random odd clouds: whatever they look like, plans are clean, reproducible and never worse.

A few seconds by default; TRIMTAB_ORACLE_EXAMPLES=2000 looks much longer.
"""

import dataclasses
import os

import numpy as np
from cluster_builders import cloud, host, plan, run, server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import NO_HOST
from trimtab_decision.framework.errors import NoFeasiblePlan
from trimtab_decision.simulate import cpu_load_sd, hosts_after
from trimtab_decision.verifier import verify

EXAMPLES = int(os.environ.get("TRIMTAB_ORACLE_EXAMPLES", "60"))
quick = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 60,
    suppress_health_check=[HealthCheck.too_slow],
)
NAN = float("nan")
STATES = [ServerState.ACTIVE] * 6 + [
    ServerState.PAUSED,
    ServerState.STOPPED,
    ServerState.SUSPENDED,
    ServerState.ERROR,
]
FLAVORS = [(1, 2048, 10), (2, 4096, 20), (4, 8192, 0), (8, 8192, 80), (0, 0, 0), (3, 5000, 7)]


@st.composite
def clouds(draw):
    """Up to 10 hosts and 40 servers, some of everything that is odd."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_hosts = draw(st.integers(0, 10))
    hosts = []
    for i in range(n_hosts):
        vcpus = int(rng.choice([0, 4, 8, 16, 32]))
        hosts.append(
            host(
                f"h{i}",
                vcpus=vcpus,
                memory=int(rng.choice([0, 8192, 32768, 65536])),
                disk=int(rng.choice([0, 100, 1000])),
                ratio=(float(rng.choice([1.0, 2.0])), 1.0, 1.0),
                reserved=(0, int(rng.choice([0, 512])), 0),
                up=bool(rng.random() > 0.1),
                enabled=bool(rng.random() > 0.2),
                reason=rng.choice([None, "operator", "watcher_disabled", "watcher_maintaining"]),
                zone=str(rng.choice(["", "z1", "z2"])),
                cpu_pct=float(rng.choice([NAN, rng.uniform(0, 100)])),
                ram_kib=float(rng.choice([NAN, rng.uniform(0, 40e6)])),
            )
        )
    servers = []
    for i in range(draw(st.integers(0, 40))):
        flavor = FLAVORS[rng.integers(len(FLAVORS))]
        unmapped = n_hosts == 0 or rng.random() < 0.05
        servers.append(
            server(
                f"s{i}",
                None if unmapped else f"h{rng.integers(n_hosts)}",
                vcpus=flavor[0],
                memory=flavor[1],
                disk=flavor[2],
                state=STATES[rng.integers(len(STATES))],
                locked=bool(rng.random() < 0.05),
                excluded=bool(rng.random() < 0.08),
                zone=str(rng.choice(["", "", "", "z1"])),
                cpu_pct=float(rng.choice([NAN, 0.0, rng.uniform(0, 100), rng.uniform(0, 100)])),
                ram_mib=float(rng.choice([NAN, rng.uniform(0, 1.2 * flavor[1] + 1)])),
            )
        )
    return cloud(hosts, servers)


def actions_of(solution):
    return [(a.action_type, dict(a.input_parameters), a.reason) for a in solution.actions]


def moved_to(clouds_now, after):
    """The same cloud with its servers where the plan put them."""
    snapshot, metrics = clouds_now
    return dataclasses.replace(snapshot, server_host=after), metrics


def partly_drained(snapshot, after):
    """Hosts that lost some servers and kept others."""
    mapped = snapshot.server_host != NO_HOST
    left = (after != snapshot.server_host) & mapped
    sources = set(snapshot.server_host[left].tolist())
    return {h for h in sources if ((after == h) & mapped).any()}


@quick
@given(clouds(), st.sampled_from([1.0, 0.7, 0.3]))
def test_consolidation_is_clean_reproducible_and_never_worse(now, cc):
    snapshot, _ = now
    solution = run("vm_workload_consolidation", now, cc_cpu=cc)
    planned = plan(solution)
    assert verify(snapshot, planned) == []
    assert actions_of(run("vm_workload_consolidation", now, cc_cpu=cc)) == actions_of(solution)
    after = hosts_after(snapshot, planned)
    overloaded = any("overloaded" in a.reason for a in solution.actions)
    before_count = len(set(snapshot.server_host[snapshot.server_host >= 0].tolist()))
    after_count = len(set(after[after >= 0].tolist()))
    if not overloaded:
        assert after_count <= before_count
        assert partly_drained(snapshot, after) == set()
    assert solution.stats["hosts_in_use_bound"] <= after_count
    again = run("vm_workload_consolidation", moved_to(now, after), cc_cpu=cc)
    assert again.stats["hosts_in_use_after"] <= after_count or overloaded


@quick
@given(clouds(), st.booleans())
def test_stabilisation_is_clean_reproducible_and_never_worse(now, with_memory):
    snapshot, metrics = now
    parameters = {"metrics": ["instance_cpu_usage", "instance_ram_usage"]} if with_memory else {}
    solution = run("workload_stabilization", now, **parameters)
    planned = plan(solution)
    assert verify(snapshot, planned) == []
    assert actions_of(run("workload_stabilization", now, **parameters)) == actions_of(solution)
    before = solution.indicators["standard_deviation_before_audit"]
    assert solution.indicators["standard_deviation_after_audit"] <= before
    if not with_memory and solution.actions:
        after = cpu_load_sd(snapshot, metrics, hosts_after(snapshot, planned))
        assert after == np.float64(after)
        assert after <= cpu_load_sd(snapshot, metrics, snapshot.server_host) + 1e-9


@quick
@given(clouds(), st.booleans(), st.booleans())
def test_maintenance_is_clean_or_refused(now, no_live, no_cold):
    snapshot, _ = now
    if not snapshot.n_hosts:
        return
    given_parameters = {
        "maintenance_node": "h0",
        "disable_live_migration": no_live,
        "disable_cold_migration": no_cold,
    }
    if snapshot.n_hosts > 1:
        given_parameters["backup_node"] = "h1"
    try:
        solution = run("host_maintenance", now, **given_parameters)
    except NoFeasiblePlan:
        return
    assert verify(snapshot, plan(solution)) == []
