"""Where servers are after a plan, where Nova chooses the hosts: the rule again, slowly, on random clouds."""

from __future__ import annotations

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_decision.framework import PlannedAction
from trimtab_decision.framework.solution import ProposedAction
from trimtab_decision.load_after import hosts_after

N_HOSTS, N_SERVERS, N_STEPS = 80, 300, 400


def random_cloud(rng):
    """Many hosts have room in memory and none in vCPUs: most often the roomiest does not fit."""
    hosts = [
        host(
            f"host-{i:02d}",
            vcpus=int(rng.choice([10, 16, 40])),
            up=rng.random() > 0.1,
            enabled=rng.random() > 0.1,
        )
        for i in range(N_HOSTS)
    ]
    servers = [
        server(
            f"vm-{i}",
            f"host-{rng.integers(N_HOSTS):02d}",
            vcpus=int(rng.integers(1, 6)),
            memory=int(rng.choice([1024, 2048, 8192])),
        )
        for i in range(N_SERVERS)
    ]
    return cloud(hosts, servers)[0]


def random_steps(rng, snapshot):
    for index in range(N_STEPS):
        if rng.random() < 0.2:
            name = snapshot.host_name[rng.integers(N_HOSTS)]
            kind = "change_nova_service_state"
            state = str(rng.choice(["enabled", "disabled"]))
            inputs = {"resource_id": name, "resource_name": name, "state": state}
        else:
            kind = "migrate"
            inputs = {"resource_id": snapshot.uuid_of(int(rng.integers(N_SERVERS)))}
            if rng.random() < 0.2:
                inputs["destination_node"] = snapshot.host_name[rng.integers(N_HOSTS)]
        action = ProposedAction(action_type=kind, input_parameters=inputs)
        yield PlannedAction(index=index, action=action)


def slowly(snapshot, steps):
    """The open host with most free memory of those that fit, the first of equals."""
    after = snapshot.server_host.copy()
    opened = snapshot.host_up & snapshot.host_enabled
    servers = {snapshot.uuid_of(i): i for i in range(N_SERVERS)}
    for step in steps:
        inputs = step.action.input_parameters
        if step.action.action_type != "migrate":
            where = snapshot.host_name.index(inputs["resource_name"])
            opened[where] = inputs["state"] == "enabled"
            continue
        which = servers[inputs["resource_id"]]
        free = snapshot.capacity()
        np.subtract.at(free, after, snapshot.server_demand)
        if "destination_node" in inputs:
            after[which] = snapshot.host_name.index(inputs["destination_node"])
            continue
        fits = opened & (free >= snapshot.server_demand[which]).all(axis=1)
        fits[after[which]] = False
        if fits.any():
            after[which] = np.argmax(np.where(fits, free[:, 1], -np.inf))
    return after


@pytest.mark.parametrize("seed", range(12))
def test_nova_is_taken_to_choose_the_roomiest_host_that_fits(seed):
    rng = np.random.default_rng(seed)
    snapshot = random_cloud(rng)
    steps = list(random_steps(rng, snapshot))
    found = hosts_after(snapshot, steps)
    assert found.tolist() == slowly(snapshot, steps).tolist()
    assert (found != snapshot.server_host).sum() > N_SERVERS // 4
