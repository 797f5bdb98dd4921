"""How a metric went: trend, periods and what is left, and whether it is stationary (B-070..B-072).

For strategies that look for patterns. Only the standard library: a week of five-minute values is
2,016 numbers, for which lists are quick enough. No forecasting here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from trimtab_common.domain.errors import InvalidArgument

DAY_S = 86_400
WEEK_S = 7 * DAY_S
SEASON_S = 91 * DAY_S
MAX_VALUES = 200_000
"""Of one series: more is refused rather than held."""
KPSS_CRITICAL_5_PCT = 0.463
"""Kwiatkowski, Phillips, Schmidt and Shin 1992, table 1: level stationarity, 5 %."""
_MIN_VALUES = 8


@dataclass(frozen=True, slots=True)
class Decomposition:
    """Aligned with the series; `trend + sum of periodic + residual` is the series.

    periodic: by length in seconds, longest last; only those that fit at least twice.
    """

    trend: tuple[float, ...]
    periodic: Mapping[int, tuple[float, ...]]
    residual: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stationarity:
    """KPSS of the level: `is_stationary` while the statistic is below the 5 % value.

    lags: how many were weighed for the long-run variance.
    """

    is_stationary: bool
    statistic: float
    lags: int


class TimeSeries:
    """Values at even steps; gaps in what is given are filled along a straight line."""

    __slots__ = ("start_s", "step_s", "values")

    def __init__(self, start_s: float, step_s: int, values: Sequence[float]) -> None:
        if step_s <= 0:
            raise InvalidArgument("The step of a series must be above 0 seconds.")
        if not values:
            raise InvalidArgument("A series needs at least one value.")
        if len(values) > MAX_VALUES:
            raise InvalidArgument(f"A series has at most {MAX_VALUES} values.")
        if not all(map(math.isfinite, values)):
            raise InvalidArgument("A series holds finite values only.")
        self.start_s = start_s
        self.step_s = step_s
        self.values = tuple(map(float, values))

    @classmethod
    def of(cls, series: Mapping[float, float], step_s: int) -> TimeSeries:
        """From what a datasource gives: epoch seconds to value."""
        if step_s <= 0:
            raise InvalidArgument("The step of a series must be above 0 seconds.")
        known = {round(at / step_s): value for at, value in series.items() if math.isfinite(value)}
        if not known:
            raise InvalidArgument("A series needs at least one value.")
        places = sorted(known)
        if places[-1] - places[0] >= MAX_VALUES:
            raise InvalidArgument(f"A series has at most {MAX_VALUES} values.")
        values = [known[places[0]]]
        for left, right in itertools.pairwise(places):
            rise = (known[right] - known[left]) / (right - left)
            values.extend(known[left] + rise * i for i in range(1, right - left))
            values.append(known[right])
        return cls(places[0] * step_s, step_s, values)

    def decompose(self, periods_s: Sequence[int] = (DAY_S, WEEK_S, SEASON_S)) -> Decomposition:
        """Into trend, the periods that fit at least twice, and the residual.

        The classical way: the trend is a centred moving mean as long as the longest period that
        fits (a straight line when none does), a period the mean of each phase of what is left,
        shortest first. InvalidArgument: a period that is not positive.
        """
        lengths = sorted({self._length(period_s) for period_s in periods_s})
        fitting = [length for length in lengths if 2 * length <= len(self.values)]
        trend = _moving_mean(self.values, fitting[-1]) if fitting else _line(self.values)
        left = [value - along for value, along in zip(self.values, trend, strict=True)]
        periodic: dict[int, tuple[float, ...]] = {}
        for length in fitting:
            wave = _phases(left, length)
            periodic[length * self.step_s] = wave
            left = [value - part for value, part in zip(left, wave, strict=True)]
        return Decomposition(tuple(trend), periodic, tuple(left))

    def stationarity(self) -> Stationarity:
        """Whether the level stays: KPSS with Bartlett's weights, 4 (n/100)^(1/4) lags.

        InvalidArgument: fewer than 8 values.
        """
        n = len(self.values)
        if n < _MIN_VALUES:
            raise InvalidArgument(f"Stationarity needs at least {_MIN_VALUES} values, not {n}.")
        mean = fmean(self.values)
        off = [value - mean for value in self.values]
        lags = int(4 * (n / 100) ** 0.25)
        variance = math.fsum(value * value for value in off) / n
        for lag in range(1, lags + 1):
            together = math.fsum(a * b for a, b in zip(off[lag:], off, strict=False)) / n
            variance += 2 * (1 - lag / (lags + 1)) * together
        if variance <= 1e-12 * max(1.0, mean * mean):
            return Stationarity(is_stationary=True, statistic=0.0, lags=lags)
        total, squares = 0.0, []
        for value in off:
            total += value
            squares.append(total * total)
        statistic = math.fsum(squares) / (n * n * variance)
        return Stationarity(
            is_stationary=statistic < KPSS_CRITICAL_5_PCT, statistic=statistic, lags=lags
        )

    def _length(self, period_s: int) -> int:
        if period_s <= 0:
            raise InvalidArgument("A period must be above 0 seconds.")
        return max(2, round(period_s / self.step_s))


def _moving_mean(values: Sequence[float], length: int) -> list[float]:
    """Centred, half weight at both ends when even; a straight line goes on at the borders."""
    half, even = length // 2, length % 2 == 0
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    middle = []
    for i in range(half, len(values) - half):
        if even:
            inner = sums[i + half] - sums[i - half + 1]
            middle.append((inner + (values[i - half] + values[i + half]) / 2) / length)
        else:
            middle.append((sums[i + half + 1] - sums[i - half]) / length)
    rise = (middle[-1] - middle[0]) / (len(middle) - 1) if len(middle) > 1 else 0.0
    before = [middle[0] - rise * (half - i) for i in range(half)]
    after = [middle[-1] + rise * (i + 1) for i in range(half)]
    return before + middle + after


def _line(values: Sequence[float]) -> list[float]:
    """The straight line of least squares."""
    n = len(values)
    middle, mean = (n - 1) / 2, fmean(values)
    spread = math.fsum((i - middle) ** 2 for i in range(n))
    rise = (
        math.fsum((i - middle) * value for i, value in enumerate(values)) / spread if n > 1 else 0.0
    )
    return [mean + rise * (i - middle) for i in range(n)]


def _phases(values: Sequence[float], length: int) -> tuple[float, ...]:
    """The mean of each phase, around zero."""
    means = [fmean(values[phase::length]) for phase in range(length)]
    level = fmean(means)
    return tuple(means[i % length] - level for i in range(len(values)))
