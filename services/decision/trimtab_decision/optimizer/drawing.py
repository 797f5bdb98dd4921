"""Draws of chance inside compiled kernels: one generator for all of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trimtab_decision.optimizer.compiled import compiled


@compiled
def next_draw(random: NDArray[np.uint64]) -> np.uint64:
    """64 bits by Marsaglia's xorshift. random: [1] state of the generator, not 0; is changed."""
    x = random[0]
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    random[0] = x
    return np.uint64(x)


@compiled
def below(x: np.uint64, n: int) -> int:
    """A number from 0 to n - 1 by the upper half of a draw."""
    return int(np.int64(((x >> np.uint64(32)) * np.uint64(n)) >> np.uint64(32)))
