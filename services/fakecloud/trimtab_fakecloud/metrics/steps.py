"""A quantity over time that stays the same until it is changed, with its integral."""

from bisect import bisect_right


class Steps:
    """Piecewise constant from ``start`` on, possibly ended."""

    __slots__ = ("_integrals", "_times", "_values", "end")

    def __init__(self, start: float, value: float) -> None:
        self._times = [start]
        self._values = [value]
        self._integrals = [0.0]
        self.end: float | None = None

    @property
    def start(self) -> float:
        """When it began."""
        return self._times[0]

    @property
    def last(self) -> float:
        """The value that holds since the last change."""
        return self._values[-1]

    def set(self, at: float, value: float) -> None:
        """It is ``value`` from ``at`` on, which must not lie before the last change."""
        if value == self._values[-1]:
            return
        if at <= self._times[-1]:
            self._values[-1] = value
            return
        self._integrals.append(self._integrals[-1] + self._values[-1] * (at - self._times[-1]))
        self._times.append(at)
        self._values.append(value)

    def exists(self, at: float) -> bool:
        """It began and has not ended."""
        return self.start <= at and (self.end is None or at < self.end)

    def value(self, at: float) -> float:
        """The value then; what came before the start counts as the first value."""
        return self._values[max(0, bisect_right(self._times, at) - 1)]

    def integral(self, until: float) -> float:
        """From the start until then: a counter that grows at this rate."""
        index = max(0, bisect_right(self._times, until) - 1)
        return self._integrals[index] + self._values[index] * (until - self._times[index])

    def covered(self, since: float, until: float) -> tuple[float, float]:
        """The part of a window in which it exists; empty if the first is not before the second."""
        return max(since, self.start), until if self.end is None else min(until, self.end)

    def values_within(self, since: float, until: float) -> list[float]:
        """All values that it has in a window."""
        first = max(0, bisect_right(self._times, since) - 1)
        return self._values[first : max(first + 1, bisect_right(self._times, until))]
