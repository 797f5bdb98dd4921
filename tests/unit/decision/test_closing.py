"""Which hosts are chosen to be emptied: dear ones too, while the average is fair."""

import math

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_decision.optimizer.closing import FAIR_AVERAGE, ClosingProblem, hosts_to_close
from trimtab_decision.optimizer.dimensions import allocations
from trimtab_decision.optimizer.eligibility import eligibility
from trimtab_decision.optimizer.packing import group_servers, scarcity


def unevenly_filled(seed, fewest=1):
    """90 hosts with 1 to 40 servers each, so that the last ones to empty hold many times the first ones'."""
    rng = np.random.default_rng(seed)
    hosts = [host(f"h{i:02}", vcpus=40, memory=90 * 1024, disk=4000) for i in range(90)]
    servers = [
        server(f"s{i}-{n}", f"h{i:02}", vcpus=1, memory=2048)
        for i, count in enumerate(rng.integers(fewest, 41, 90))
        for n in range(count)
    ]
    snapshot = cloud(hosts, servers)[0]
    dims, masks = allocations(snapshot), eligibility(snapshot)
    load = np.zeros_like(dims.free)
    np.add.at(load, snapshot.server_host, dims.demand)
    counts = np.bincount(snapshot.server_host, minlength=snapshot.n_hosts)
    return ClosingProblem(
        groups=group_servers(
            dims.demand,
            server_class=masks.server_class,
            class_hosts=masks.class_hosts,
            server_host=snapshot.server_host,
            considered=masks.movable,
            weight=scarcity(dims.free, load),
        ),
        free=dims.free,
        load=load,
        receivers=masks.targets & (counts > 0),
        closable=counts > 0,
        in_use=counts > 0,
        spare=counts == 0,
        new_moves=counts,
    )


@pytest.mark.req("B-109")
@pytest.mark.parametrize("seed", [1, 3, 5])
def test_dear_hosts_are_closed_while_the_average_stays_within_a_fair_number_of_moves(seed):
    problem = unevenly_filled(seed)

    def chosen(**given):
        closed = hosts_to_close(problem, **given).closed
        assert problem.fits(closed)
        return int(closed.sum()), int(problem.cost[closed].sum())

    few, moves = chosen()
    assert chosen(fair=0.0) == chosen(fair=moves / few) == (few, moves)
    many, more_moves = chosen(fair=math.inf)
    assert many > few
    assert more_moves <= FAIR_AVERAGE * problem.cost.mean() * many
    assert chosen(fair=more_moves / many) == (many, more_moves)
    assert chosen(fair=more_moves / many - 0.01)[0] < many


@pytest.mark.parametrize(("fewest", "more"), [(6, 2), (10, 1), (12, 0)])
def test_however_dear_the_written_order_is_hosts_dear_on_average_stay_open(fewest, more):
    """At best 38, 33 and 31 hosts go: at 0.583, 0.622 and 0.649 of the mean servers of a host."""
    problem = unevenly_filled(1, fewest)
    few = hosts_to_close(problem).closed
    many = hosts_to_close(problem, fair=math.inf).closed
    assert int(many.sum()) - int(few.sum()) == more
    assert problem.cost[many].sum() <= 0.62 * problem.cost.mean() * many.sum() or not more


def test_to_the_last_needs_no_fairness():
    problem = unevenly_filled(1)
    last = hosts_to_close(problem, to_the_last=True).closed
    assert hosts_to_close(problem, to_the_last=True, fair=0.0).closed.tolist() == last.tolist()
