"""Whoever moves is then excluded, and moves no more: each compute strategy honours `watcher_exclude` (C-101).

A strategy that only switches hosts off must leave on a host that holds such a server.
"""

import dataclasses

import numpy as np
import pytest
from oracle import REFUSALS, run
from random_clouds import random_cloud
from subjects import SUBJECTS

WANTED, SEEDS = 3, 400


def touched(planned):
    """Uuids of the servers that a plan acts on."""
    return {step.action.input_parameters.get("resource_id") for step in planned}


def closed_hosts(snapshot, planned, machines):
    """Indexes of the hosts that a plan disables or switches off."""
    found = set()
    for step in planned:
        given = step.action.input_parameters
        if step.action.action_type == "change_nova_service_state" and given["state"] == "disabled":
            found.add(snapshot.host_index(given["resource_name"]))
        if step.action.action_type == "change_node_power_state" and given["state"] == "off":
            host = machines.get(given["resource_id"])
            found |= {snapshot.host_uuid.index(host)} if host in snapshot.host_uuid else set()
    return found


@pytest.mark.req("C-099", "C-101")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_what_a_strategy_acts_on_it_leaves_alone_once_it_is_excluded(name):
    shown = 0
    for seed in range(SEEDS):
        cloud = random_cloud(seed)
        snapshot = cloud.snapshot
        given = SUBJECTS[name].parameters(np.random.default_rng(seed + 1), snapshot)
        uuids = [snapshot.uuid_of(i) for i in range(snapshot.n_servers)]
        try:
            _, planned = run(name, snapshot, cloud.metrics, given, seed, cloud.baremetal)
        except REFUSALS:
            continue
        machines = {row.uuid: row.compute_node_id for row in cloud.baremetal.of("baremetal_node")}
        moved = touched(planned) & set(uuids)
        closed = closed_hosts(snapshot, planned, machines)
        if not moved and not (closed and uuids):
            continue
        excluded = snapshot.server_excluded | np.array([uuid in moved for uuid in uuids])
        places = snapshot.server_host
        if not moved:  # it only switches hosts: one of them gets a server that must stay
            places, excluded = places.copy(), excluded.copy()
            places[0], excluded[0] = min(closed), True
        barred = dataclasses.replace(snapshot, server_excluded=excluded, server_host=places)
        shown += 1
        try:
            _, again = run(name, barred, cloud.metrics, given, seed, cloud.baremetal)
        except REFUSALS:
            continue
        assert not touched(again) & {uuids[i] for i in np.flatnonzero(excluded)}, (name, seed)
        holding = set(barred.server_host[excluded].tolist())
        assert not closed_hosts(barred, again, machines) & holding, (name, seed)
        if shown == WANTED:
            break
    assert shown == WANTED, f"only {shown} clouds let {name} act"
