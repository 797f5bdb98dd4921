"""The challenge's rules and objective, written from its text alone: plain Python, no search code.

Slow on purpose of clearness: dictionaries and loops, nothing shared with the optimizer.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.perf.roadef_instances import Instance


def official_cost(instance: Instance, assignment: list[int]) -> int:
    """Load, balance, process move, service move and machine move costs, weighted."""
    usage = _usage(instance, assignment)
    total = 0
    for machine, used in enumerate(usage):
        for resource, weight in enumerate(instance.load_weight):
            safe = instance.safety_capacity[machine][resource]
            total += weight * max(0, used[resource] - safe)
        for first, second, target, weight in instance.balances:
            free_first = instance.capacity[machine][first] - used[first]
            free_second = instance.capacity[machine][second] - used[second]
            total += weight * max(0, target * free_first - free_second)
    moved_of_service: Counter[int] = Counter()
    for process, machine in enumerate(assignment):
        home = instance.assignment[process]
        if machine != home:
            total += instance.weight_process_move * instance.process_move_cost[process]
            moved_of_service[instance.service[process]] += 1
        total += instance.weight_machine_move * instance.machine_move_cost[home][machine]
    return total + instance.weight_service_move * max(moved_of_service.values(), default=0)


def violations(instance: Instance, assignment: list[int]) -> list[str]:
    """Every rule that the assignment breaks."""
    return [
        *_capacity(instance, assignment),
        *_conflict(instance, assignment),
        *_spread(instance, assignment),
        *_dependency(instance, assignment),
    ]


def _usage(instance: Instance, assignment: list[int]) -> list[list[int]]:
    usage = [[0] * len(instance.load_weight) for _ in instance.capacity]
    for process, machine in enumerate(assignment):
        for resource, amount in enumerate(instance.requirement[process]):
            usage[machine][resource] += amount
    return usage


def _capacity(instance: Instance, assignment: list[int]) -> list[str]:
    usage = _usage(instance, assignment)
    for process, machine in enumerate(assignment):
        home = instance.assignment[process]
        if home != machine:
            for resource, amount in enumerate(instance.requirement[process]):
                if instance.transient[resource]:
                    usage[home][resource] += amount
    return [
        f"machine {machine} uses {amount} of {limit} of resource {resource}"
        for machine, used in enumerate(usage)
        for resource, (amount, limit) in enumerate(
            zip(used, instance.capacity[machine], strict=True)
        )
        if amount > limit
    ]


def _conflict(instance: Instance, assignment: list[int]) -> list[str]:
    together = Counter(zip(instance.service, assignment, strict=True))
    return [
        f"machine {machine} runs {count} processes of service {service}"
        for (service, machine), count in together.items()
        if count > 1
    ]


def _spread(instance: Instance, assignment: list[int]) -> list[str]:
    locations: dict[int, set[int]] = defaultdict(set)
    for process, machine in enumerate(assignment):
        locations[instance.service[process]].add(instance.location[machine])
    return [
        f"service {service} is in {len(locations[service])} locations of {least}"
        for service, least in enumerate(instance.spread_min)
        if len(locations[service]) < least
    ]


def _dependency(instance: Instance, assignment: list[int]) -> list[str]:
    areas: dict[int, set[int]] = defaultdict(set)
    for process, machine in enumerate(assignment):
        areas[instance.service[process]].add(instance.neighbourhood[machine])
    return [
        f"service {service} is in neighbourhoods {sorted(areas[service] - areas[needed])} without {needed}"
        for service, all_needed in enumerate(instance.dependencies)
        for needed in all_needed
        if areas[service] - areas[needed]
    ]
