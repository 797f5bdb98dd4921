"""Evaluates a parsed query at a moment over the series of the cloud.

Counters and gauges are known exactly at every moment, so a rate is the exact increase over its
window, as an endlessly fine scrape would give it.
"""

import operator
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from trimtab_fakecloud.metrics.expressions import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Number,
    QueryError,
    Selector,
    Subquery,
)
from trimtab_fakecloud.metrics.series import Labels, Series, SeriesStore

SCRAPE_S = 5.0
"""A series must exist so long in a window before a rate is known of it."""
DEFAULT_STEP_S = 60.0

Key = tuple[tuple[str, str], ...]
"""Labels, sorted."""
Vector = dict[Key, float]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A number that is not a vector."""

    value: float


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else (float("nan") if not a else float("inf") * a),
}
_GROUPS: dict[str, Callable[[list[float]], float]] = {
    "avg": lambda values: sum(values) / len(values),
    "sum": sum,
    "min": min,
    "max": max,
    "count": lambda values: float(len(values)),
}
_WINDOWS: dict[str, Callable[[list[float]], float]] = {
    "avg_over_time": _GROUPS["avg"],
    "sum_over_time": sum,
    "min_over_time": min,
    "max_over_time": max,
    "count_over_time": _GROUPS["count"],
    "last_over_time": lambda values: values[-1],
}


class Evaluator:
    """Answers queries."""

    def __init__(self, store: SeriesStore) -> None:
        self._store = store

    def evaluate(self, tree: Expression, at: float) -> Scalar | Vector:  # noqa: PLR0911, one for each kind of node
        """The value at a moment.

        Raises:
            QueryError: the tree asks for something that the fake does not do.
        """
        match tree:
            case Number(value):
                return Scalar(value)
            case Selector(range_s=None):
                return self._instant(tree, at)
            case Aggregation(name, labels, inner):
                return self._aggregate(name, labels, self._vector(inner, at))
            case Call(function, argument, bound) if bound is not None:
                limit = min if function == "clamp_max" else max
                return {
                    _without_name(k): limit(v, bound) for k, v in self._vector(argument, at).items()
                }
            case Call(function, Selector() as selector, None):
                return dict(self._over_series(function, selector, at))
            case Call(function, Subquery() as subquery, None):
                return self._over_subquery(function, subquery, at)
            case Binary(symbol, left, right):
                return self._binary(symbol, self.evaluate(left, at), self.evaluate(right, at))
        raise QueryError("parse error: a range vector must be inside a function")

    def _vector(self, tree: Expression, at: float) -> Vector:
        value = self.evaluate(tree, at)
        if isinstance(value, Scalar):
            raise QueryError("parse error: expected type instant vector, got scalar")
        return value

    def _series(self, selector: Selector) -> Iterator[Series]:
        tests = [(m.label, m.predicate()) for m in selector.matchers]

        def accepts(labels: Labels) -> bool:
            return all(test(labels.get(label, "")) for label, test in tests)

        if not selector.name:
            raise QueryError("the fake Prometheus wants a metric name in each selector")
        only = {m.label: m.value for m in selector.matchers if m.operator == "="}
        return self._store.select(selector.name, accepts, only)

    def _instant(self, selector: Selector, at: float) -> Vector:
        found: Vector = {}
        for series in self._series(selector):
            value = series.at(at)
            if value is not None:
                found[_key({"__name__": series.name, **series.labels})] = value
        return found

    def _over_series(
        self, function: str, selector: Selector, at: float
    ) -> Iterator[tuple[Key, float]]:
        range_s = selector.range_s or 0.0
        for series in self._series(selector):
            since, until = series.steps.covered(at - range_s, at)
            if until - since < min(SCRAPE_S, range_s):
                continue
            yield _key(series.labels), _over_window(function, series, (since, until), range_s)

    def _over_subquery(self, function: str, subquery: Subquery, at: float) -> Vector:
        if function not in _WINDOWS:
            raise QueryError(f"the fake Prometheus does not do {function} of a sub-query")
        return {
            _without_name(key): _WINDOWS[function]([value for _, value in samples])
            for key, samples in self.matrix(subquery, at).items()
        }

    def matrix(self, subquery: Subquery, at: float) -> dict[Key, list[tuple[float, float]]]:
        """Times and values of a sub-query, as it stands inside a function or alone."""
        step_s = subquery.step_s or DEFAULT_STEP_S
        samples: defaultdict[Key, list[tuple[float, float]]] = defaultdict(list)
        # Prometheus aligns the steps of sub-queries with the epoch
        moment = ((at - subquery.range_s) // step_s + 1) * step_s
        while moment <= at:
            for key, value in self._vector(subquery.inner, moment).items():
                samples[key].append((moment, value))
            moment += step_s
        return dict(samples)

    def _aggregate(self, name: str, labels: tuple[str, ...], inner: Vector) -> Vector:
        wanted = frozenset(labels)
        groups: defaultdict[Key, list[float]] = defaultdict(list)
        for key, value in inner.items():
            groups[tuple(pair for pair in key if pair[0] in wanted)].append(value)
        return {key: _GROUPS[name](values) for key, values in groups.items()}

    def _binary(
        self, symbol: str, left: Scalar | Vector, right: Scalar | Vector
    ) -> Scalar | Vector:
        apply = _ARITHMETIC[symbol]
        if isinstance(left, Scalar):
            if isinstance(right, Scalar):
                return Scalar(apply(left.value, right.value))
            return {_without_name(k): apply(left.value, v) for k, v in right.items()}
        if isinstance(right, Scalar):
            return {_without_name(k): apply(v, right.value) for k, v in left.items()}
        others = {_without_name(k): v for k, v in right.items()}
        return {
            key: apply(value, others[key])
            for key, value in ((_without_name(k), v) for k, v in left.items())
            if key in others
        }


def _over_window(
    function: str, series: Series, window: tuple[float, float], range_s: float
) -> float:
    since, until = window
    steps, scale = series.steps, series.scale
    growth = steps.integral(until) - steps.integral(since)
    if function in ("rate", "irate", "increase"):
        if not series.is_counter:
            raise QueryError(f"{series.name} is a gauge: {function} of it means nothing")
        if function == "irate":
            return steps.value(until) * scale
        return growth * scale / (range_s if function == "rate" else 1.0)
    if series.is_counter:
        raise QueryError(f"the fake Prometheus does not do {function} of a counter")
    if function == "avg_over_time":
        return growth * scale / (until - since)
    if function in ("sum_over_time", "count_over_time"):
        samples = max(1, int((until - since) // SCRAPE_S))
        return growth * scale / SCRAPE_S if function == "sum_over_time" else float(samples)
    return _WINDOWS[function](steps.values_within(since, until)) * scale


def _key(labels: Labels) -> Key:
    return tuple(sorted(labels.items()))


def _without_name(key: Key) -> Key:
    if key and key[0][0] == "__name__":
        return key[1:]
    return key
