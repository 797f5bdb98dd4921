"""The order of moves that need each other's room, and what each of them waits for."""

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_decision.optimizer.dimensions import allocations
from trimtab_decision.optimizer.move_order import move_order, room_at_end
from trimtab_decision.optimizer.state import Placement


class Moves:
    """Hosts of so many vCPU, servers {name: (vCPU, from, to)}; `order` in names."""

    def __init__(self, hosts, servers):
        snapshot, _ = cloud(
            [host(name, vcpus=vcpus, memory=10**6, disk=10**5) for name, vcpus in hosts.items()],
            [server(name, at, vcpus=vcpus) for name, (vcpus, at, _) in servers.items()],
        )
        self.names = snapshot.server_name
        self.place = {name: i for i, name in enumerate(self.names)}
        self.placement = Placement(allocations(snapshot), snapshot.server_host)
        for name, (_, at, to) in servers.items():
            if to != at:
                self.placement.move(self.place[name], snapshot.host_index(to))

    def order(self, *wanted):
        found = move_order(self.placement, [self.place[name] for name in wanted])
        after = {
            self.names[server]: [self.names[other] for other in others]
            for server, others in found.after.items()
        }
        return self.named(found.servers), after, self.named(found.stuck)

    def named(self, servers):
        return [self.names[server] for server in servers]


def test_nothing_waits_where_all_fits_at_once():
    moves = Moves({"a": 8, "b": 8}, {"x": (4, "a", "b"), "y": (4, "b", "a")})
    assert moves.order("y", "x") == (["y", "x"], {}, [])


def test_who_needs_room_comes_after_who_leaves_it():
    moves = Moves({"a": 8, "b": 4, "c": 4}, {"x": (4, "a", "b"), "y": (4, "b", "c")})
    assert moves.order("x", "y") == (["y", "x"], {"x": ["y"]}, [])


def test_a_chain_of_full_hosts_unrolls_from_its_end():
    moves = Moves(
        {"a": 4, "b": 4, "c": 4, "d": 4},
        {"x": (4, "a", "b"), "y": (4, "b", "c"), "z": (4, "c", "d")},
    )
    assert moves.order("x", "y", "z") == (["z", "y", "x"], {"x": ["y"], "y": ["z"]}, [])


def test_what_waits_in_a_circle_is_stuck_and_holds_nobody_else_up():
    moves = Moves(
        {"a": 4, "b": 4, "c": 4, "d": 4},
        {"x": (4, "a", "b"), "y": (4, "b", "a"), "z": (4, "c", "d")},
    )
    assert moves.order("x", "y", "z") == (["z"], {}, ["x", "y"])


def test_each_arrival_waits_for_those_only_whose_room_it_gets():
    moves = Moves(
        {"a": 16, "b": 9, "c": 16},
        {
            **{f"in{n}": (3, "a", "b") for n in range(3)},
            **{f"out{n}": (4, "b", "c") for n in range(2)},
        },
    )
    order, after, stuck = moves.order("out0", "out1", "in0", "in1", "in2")
    assert (order, stuck) == (["out0", "out1", "in0", "in1", "in2"], [])
    # one vCPU was free, four came from each: 1 + 2, 2 + 1, 3
    assert after == {"in0": ["out0"], "in1": ["out0", "out1"], "in2": ["out1"]}


def test_every_dimension_counts():
    snapshot, _ = cloud(
        [host("a"), host("b", vcpus=4, memory=8192, disk=100), host("c")],
        [
            server("cores", "b", vcpus=3, memory=1, disk=1),
            server("memory", "b", vcpus=1, memory=8000, disk=1),
            server("comes", "a", vcpus=2, memory=6000, disk=1),
        ],
    )
    placement = Placement(allocations(snapshot), snapshot.server_host)
    place = {name: i for i, name in enumerate(snapshot.server_name)}
    for name, target in (("cores", "c"), ("memory", "c"), ("comes", "b")):
        placement.move(place[name], snapshot.host_index(target))
    found = move_order(placement, [place[name] for name in ("comes", "memory", "cores")])
    assert found.servers == [place[name] for name in ("memory", "cores", "comes")]
    assert set(found.after[place["comes"]]) == {place["memory"], place["cores"]}


def test_a_host_that_is_over_full_gets_nobody_and_takes_back_who_left():
    moves = Moves({"a": 4, "b": 8}, {"x": (3, "a", "b"), "y": (3, "a", "a")})
    room = room_at_end(moves.placement)
    assert np.isinf(room[0]).all()
    assert room[1, 0] == 5


@pytest.mark.parametrize("seed", range(40))
def test_no_interleaving_overfills_a_host(seed):
    """Moves start and end by lot, each as early as what it waits for lets it."""
    rng = np.random.default_rng(seed)
    hosts = {f"h{n}": 12 for n in range(6)}
    free, servers = dict(hosts), {}
    for n in range(40):
        size, at = int(rng.choice([1, 2, 4])), f"h{rng.integers(6)}"
        if free[at] >= size:
            free[at] -= size
            servers[f"s{n}"] = [size, at, at]
    left = dict(free)
    for name in rng.permutation(list(servers)).tolist():
        size, at, _ = servers[name]
        to = f"h{rng.integers(6)}"
        if to != at and left[to] >= size:
            servers[name][2] = to
            left[to] -= size
            left[at] += size
    moves = Moves(hosts, {name: tuple(fields) for name, fields in servers.items()})
    order, after, stuck = moves.order(*[n for n, (_, at, to) in servers.items() if at != to])
    assert sorted([*order, *stuck]) == sorted(n for n, (_, at, to) in servers.items() if at != to)
    assert all(order.index(other) < order.index(name) for name in after for other in after[name])
    for _ in range(5):
        room, running, ended, waiting = dict(free), set(), set(), set(order)
        while waiting or running:
            open_moves = sorted(n for n in waiting if ended.issuperset(after.get(n, ())))
            if open_moves and (not running or rng.random() < 0.7):
                name = str(rng.choice(open_moves))
                waiting.remove(name)
                running.add(name)
                room[servers[name][2]] -= servers[name][0]
                assert room[servers[name][2]] >= 0
            else:
                name = str(rng.choice(sorted(running)))
                running.remove(name)
                ended.add(name)
                room[servers[name][1]] += servers[name][0]
