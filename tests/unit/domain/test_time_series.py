"""Time series: the parts add up, known waves are found, and a level that drifts is told."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.time_series import DAY_S, SEASON_S, WEEK_S, TimeSeries

HOUR_S = 3600


def daily(i, height=10.0):
    return height * math.sin(2 * math.pi * i / 24)


def weekly(i, height=4.0):
    return height * math.cos(2 * math.pi * i / (24 * 7))


@pytest.mark.req("B-071")
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300),
    st.lists(st.sampled_from([2, 3, 7, 24, 50]), max_size=3),
)
def test_the_parts_of_any_series_add_up_to_it(values, periods):
    parts = TimeSeries(0, 1, values).decompose(periods)
    for i, value in enumerate(values):
        whole = parts.trend[i] + sum(p[i] for p in parts.periodic.values()) + parts.residual[i]
        assert whole == pytest.approx(value, abs=1e-9 * max(1, abs(value)), rel=1e-12)


@pytest.mark.req("B-071")
def test_a_known_trend_and_known_waves_are_found():
    n = 24 * 7 * 8
    values = [50 + 0.01 * i + daily(i) + weekly(i) for i in range(n)]
    parts = TimeSeries(0, HOUR_S, values).decompose()
    assert list(parts.periodic) == [DAY_S, WEEK_S], "a season does not fit twice"
    assert SEASON_S not in parts.periodic
    middle = range(24 * 7, n - 24 * 7)
    for i in middle:
        assert parts.trend[i] == pytest.approx(50 + 0.01 * i, abs=0.05)
        assert parts.periodic[DAY_S][i] == pytest.approx(daily(i), abs=0.2)
        assert parts.periodic[WEEK_S][i] == pytest.approx(weekly(i), abs=0.2)
        assert abs(parts.residual[i]) < 0.3


@pytest.mark.req("B-071")
def test_a_series_shorter_than_two_days_has_a_line_and_no_wave():
    parts = TimeSeries(0, HOUR_S, [2.0 * i for i in range(30)]).decompose()
    assert parts.periodic == {}
    assert max(map(abs, parts.residual)) < 1e-9


@pytest.mark.req("B-071")
@pytest.mark.parametrize(
    ("kind", "is_stationary"),
    [("constant", True), ("noise", True), ("trend", False), ("walk", False)],
)
def test_stationarity_of_known_series(kind, is_stationary):
    rng = random.Random(7)
    noise = [rng.gauss(0, 1) for _ in range(500)]
    walk = [sum(noise[: i + 1]) for i in range(500)]
    values = {
        "constant": [5.0] * 500,
        "noise": noise,
        "trend": [0.05 * i + noise[i] for i in range(500)],
        "walk": walk,
    }[kind]
    found = TimeSeries(0, 300, values).stationarity()
    assert found.is_stationary is is_stationary
    assert (found.statistic < 0.463) is is_stationary


def test_gaps_are_filled_along_a_straight_line():
    series = TimeSeries.of({600.0: 4.0, 0.0: 1.0, 900.0: 5.0, 1200.0: float("nan")}, 300)
    assert series.values == (1.0, 2.5, 4.0, 5.0)
    assert (series.start_s, series.step_s) == (0, 300)


@pytest.mark.req("B-072")
@pytest.mark.parametrize(
    "call",
    [
        lambda: TimeSeries(0, 0, [1.0]),
        lambda: TimeSeries(0, 1, []),
        lambda: TimeSeries(0, 1, [float("inf")]),
        lambda: TimeSeries(0, 1, [0.0] * 200_001),
        lambda: TimeSeries.of({0.0: 1.0, 1e9: 1.0}, 1),
        lambda: TimeSeries.of({}, 1),
        lambda: TimeSeries(0, 1, [1.0] * 7).stationarity(),
        lambda: TimeSeries(0, 1, [1.0] * 7).decompose([0]),
    ],
)
def test_what_cannot_be_is_refused(call):
    with pytest.raises(InvalidArgument):
        call()
