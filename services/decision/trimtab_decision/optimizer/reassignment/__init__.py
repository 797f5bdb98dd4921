"""Where to put everything at the least cost: capacity, separation, spread and nearness hold."""

from trimtab_decision.optimizer.reassignment.bounds import lower_bound
from trimtab_decision.optimizer.reassignment.problem import (
    Balance,
    Capacity,
    Dependency,
    Load,
    MoveCost,
    Reassignment,
    Separation,
    Spread,
)
from trimtab_decision.optimizer.reassignment.search import Answer, Budget, search

__all__ = [
    "Answer",
    "Balance",
    "Budget",
    "Capacity",
    "Dependency",
    "Load",
    "MoveCost",
    "Reassignment",
    "Separation",
    "Spread",
    "lower_bound",
    "search",
]
