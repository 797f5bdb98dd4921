"""Small things that columns of a model need."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)


def grown(column: NDArray[T]) -> NDArray[T]:
    """Twice as long, zeros at the end."""
    return np.concatenate([column, np.zeros_like(column)])


def frozen(array: NDArray[T]) -> NDArray[T]:
    """The same array, which nobody can write to any more."""
    array.setflags(write=False)
    return array


def table(
    rows: list[tuple[int, int, int]] | list[tuple[float, float, float]], kind: type[T]
) -> NDArray[T]:
    """[n, 3] of rows, frozen; also of none."""
    return frozen(np.array(rows, kind).reshape(-1, 3))
