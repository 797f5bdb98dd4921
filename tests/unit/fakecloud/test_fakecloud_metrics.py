import pytest

from trimtab_fakecloud.metrics.expressions import (
    Aggregation,
    Binary,
    Call,
    Matcher,
    Number,
    QueryError,
    Selector,
    Subquery,
    duration_s,
    parse,
)
from trimtab_fakecloud.metrics.steps import Steps


def test_steps_keep_values_and_integrals():
    steps = Steps(100.0, 2.0)
    steps.set(110.0, 4.0)
    assert [steps.value(at) for at in (90.0, 105.0, 110.0, 200.0)] == [2.0, 2.0, 4.0, 4.0]
    assert steps.integral(110.0) == 20.0
    assert steps.integral(115.0) == 40.0
    assert steps.values_within(105.0, 115.0) == [2.0, 4.0]
    assert steps.values_within(111.0, 115.0) == [4.0]


def test_a_change_at_the_same_moment_replaces_the_value():
    steps = Steps(100.0, 2.0)
    steps.set(100.0, 3.0)
    assert steps.integral(101.0) == 3.0


def test_ended_steps_cover_a_window_only_until_their_end():
    steps = Steps(100.0, 1.0)
    steps.end = 120.0
    assert steps.exists(119.9)
    assert not steps.exists(120.0)
    assert steps.covered(90.0, 130.0) == (100.0, 120.0)


@pytest.mark.parametrize(
    ("query", "tree"),
    [
        ("10e+8", Number(10e8)),
        ("a", Selector("a", ())),
        ("a{b='c',d!~\"e\"}", Selector("a", (Matcher("b", "=", "c"), Matcher("d", "!~", "e")))),
        ("a{b='it\\'s'}", Selector("a", (Matcher("b", "=", "it's"),))),
        ("rate(a[5m])", Call("rate", Selector("a", (), 300.0))),
        ("sum by (x, y) (a)", Aggregation("sum", ("x", "y"), Selector("a", ()))),
        ("sum(a) by (x)", Aggregation("sum", ("x",), Selector("a", ()))),
        ("1 - 2 * 3", Binary("-", Number(1), Binary("*", Number(2), Number(3)))),
        (
            "max_over_time(a[1h:15s])",
            Call("max_over_time", Subquery(Selector("a", ()), 3600.0, 15.0)),
        ),
        ("clamp_max(a, 100)", Call("clamp_max", Selector("a", ()), 100.0)),
    ],
)
def test_queries_become_trees(query, tree):
    assert parse(query) == tree


@pytest.mark.parametrize(
    "query", ["", "a b", "rate(a)", "clamp_max(a[5m], 1)", "f(a)", "a{", "'a'"]
)
def test_what_cannot_be_parsed_is_an_error(query):
    with pytest.raises(QueryError):
        parse(query)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15", 15.0), ("15s", 15.0), ("1h30m", 5400.0), ("250ms", 0.25)]
)
def test_durations(text, seconds):
    assert duration_s(text) == seconds
