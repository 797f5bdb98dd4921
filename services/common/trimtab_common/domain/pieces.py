"""A growing list in pieces that its readers share until they change.

What a reader is lent stays as it was: the first change of a piece after that copies it, and only it.
So lending a list of 200,000 costs a tuple of its 1,563 pieces, and a change the copy of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")
SHIFT = 7
SIZE = 1 << SHIFT
"""Elements of a piece: small enough that its copy is a small part of what a change costs."""
REST = SIZE - 1


class Pieces(Generic[T]):
    """A list that can be lent.

    >>> names = Pieces(["a", "b"])
    >>> lent = names.lend()
    >>> names[1] = "c"
    >>> lent[0], list(names)
    (['a', 'b'], ['a', 'c'])
    """

    def __init__(self, values: Iterable[T] = ()) -> None:
        whole = list(values)
        self._pieces = [whole[at : at + SIZE] for at in range(0, len(whole), SIZE)]
        self._length = len(whole)
        self._own: set[int] = set()

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        return chain.from_iterable(self._pieces)

    def __getitem__(self, at: int) -> T:
        return self._pieces[at >> SHIFT][at & REST]

    def __setitem__(self, at: int, value: T) -> None:
        self._owned(at >> SHIFT)[at & REST] = value

    def append(self, value: T) -> None:
        """Adds one at the end."""
        number = self._length >> SHIFT
        if number == len(self._pieces):
            self._pieces.append([value])
            self._own.add(number)
        else:
            self._owned(number).append(value)
        self._length += 1

    def pop(self) -> T:
        """Takes the last one away. IndexError when there is none."""
        number = (self._length - 1) >> SHIFT
        value = self._owned(number).pop()
        if not self._pieces[number]:
            del self._pieces[number]
        self._length -= 1
        return value

    def put_equal(self, at: int, value: T) -> None:
        """Puts what stands for the same thing in its place, also before the eyes of readers."""
        self._pieces[at >> SHIFT][at & REST] = value

    def lend(self) -> tuple[list[T], ...]:
        """The pieces now; the element at `at` is `[at >> SHIFT][at & REST]`, and stays it."""
        self._own.clear()
        return tuple(self._pieces)

    def _owned(self, number: int) -> list[T]:
        if number not in self._own:
            self._pieces[number] = self._pieces[number].copy()
            self._own.add(number)
        return self._pieces[number]
