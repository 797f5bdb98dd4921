"""Files of the Google ROADEF/EURO 2012 challenge, plain or packed with xz, as the core's problem."""

from __future__ import annotations

import gzip
import lzma
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer import reassignment as core


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The numbers of a model file and its assignment file, in the challenge's own words."""

    transient: list[int]
    load_weight: list[int]
    neighbourhood: list[int]
    location: list[int]
    capacity: list[list[int]]
    safety_capacity: list[list[int]]
    machine_move_cost: list[list[int]]
    spread_min: list[int]
    dependencies: list[list[int]]
    service: list[int]
    requirement: list[list[int]]
    process_move_cost: list[int]
    balances: list[tuple[int, int, int, int]]
    weight_process_move: int
    weight_service_move: int
    weight_machine_move: int
    assignment: list[int]


def numbers(path: Path) -> list[int]:
    """All numbers of a text file."""
    opened = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opened(path, "rt") as file:
        return [int(word) for word in file.read().split()]


class _Reader:
    def __init__(self, values: list[int]) -> None:
        self.values, self.at = values, 0

    def one(self) -> int:
        self.at += 1
        return self.values[self.at - 1]

    def many(self, count: int) -> list[int]:
        self.at += count
        return self.values[self.at - count : self.at]


def read_instance(model: Path, assignment: Path) -> Instance:
    """Both files; ValueError when a number is missing or left over."""
    reader = _Reader(numbers(model))
    resources = [reader.many(2) for _ in range(reader.one())]
    n_machines = reader.one()
    n = len(resources)
    machines = [
        (reader.one(), reader.one(), reader.many(n), reader.many(n), reader.many(n_machines))
        for _ in range(n_machines)
    ]
    services = [(reader.one(), reader.many(reader.one())) for _ in range(reader.one())]
    processes = [(reader.one(), reader.many(n), reader.one()) for _ in range(reader.one())]
    balances = []
    for _ in range(reader.one()):
        first, second, target, weight = reader.many(4)
        balances.append((first, second, target, weight))
    weights = reader.many(3)
    if reader.at != len(reader.values) or len(weights) != 3:
        raise ValueError(f"{model}: {len(reader.values)} numbers, {reader.at} expected")
    placed = numbers(assignment)
    if len(placed) != len(processes):
        raise ValueError(f"{assignment}: {len(placed)} places for {len(processes)} processes")
    return Instance(
        transient=[one[0] for one in resources],
        load_weight=[one[1] for one in resources],
        neighbourhood=[one[0] for one in machines],
        location=[one[1] for one in machines],
        capacity=[one[2] for one in machines],
        safety_capacity=[one[3] for one in machines],
        machine_move_cost=[one[4] for one in machines],
        spread_min=[one[0] for one in services],
        dependencies=[one[1] for one in services],
        service=[one[0] for one in processes],
        requirement=[one[1] for one in processes],
        process_move_cost=[one[2] for one in processes],
        balances=balances,
        weight_process_move=weights[0],
        weight_service_move=weights[1],
        weight_machine_move=weights[2],
        assignment=placed,
    )


def _array(values: object, ndim: int = 1) -> NDArray[np.int64]:
    result = np.array(values, dtype=np.int64)
    return result if result.ndim == ndim else result.reshape((0,) * ndim)


def problem_of(instance: Instance) -> core.Reassignment:
    """The instance as constraint objects of the core."""
    needs = tuple(
        (here, there) for here, found in enumerate(instance.dependencies) for there in found
    )
    return core.Reassignment(
        home=_array(instance.assignment),
        capacity=core.Capacity(
            limit=_array(instance.capacity, 2),
            demand=_array(instance.requirement, 2),
            is_held=_array(instance.transient).astype(bool),
        ),
        separation=core.Separation(
            group=_array(instance.service), n_groups=len(instance.spread_min)
        ),
        spread=core.Spread(zone=_array(instance.location), at_least=_array(instance.spread_min)),
        dependency=core.Dependency(area=_array(instance.neighbourhood), needs=needs),
        load=core.Load(
            safe=_array(instance.safety_capacity, 2), weight=_array(instance.load_weight)
        ),
        moves=core.MoveCost(
            server=_array(instance.process_move_cost) * instance.weight_process_move,
            between=_array(instance.machine_move_cost, 2) * instance.weight_machine_move,
            most_in_group=instance.weight_service_move,
        ),
        balances=tuple(
            core.Balance(first=a, second=b, ratio=ratio, weight=weight)
            for a, b, ratio, weight in instance.balances
        ),
    )
