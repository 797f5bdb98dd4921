"""The best plan so far, told while the search goes on."""

from __future__ import annotations

from collections.abc import Callable

Improved = Callable[[float, float | None, int], None]
"""(what the best plan so far is worth, what none gets below, its moves); called at each improvement, so it must be cheap."""


def not_watched(value: float, bound: float | None, moves: int) -> None:
    """An `Improved` for searches that nobody watches."""
    del value, bound, moves
