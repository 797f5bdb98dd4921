from __future__ import annotations

import json

import pytest

from trimtab_common.domain.errors import NotFound
from trimtab_scoring.discovery import CONTAINER_GROUPS, ENGINE_GROUPS
from trimtab_scoring.engine import FeaturesRefused
from trimtab_scoring.engines.dummy_aggregates import AggregateScorer, DummyAggregatesContainer
from trimtab_scoring.engines.dummy_scorer import DummyScorer
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.scores import parse_features, score_row

MIB = 1024 * 1024


def features(cpu=0, reads=0, writes=0, disk_read=0, disk_write=0):
    return [cpu, 8e9, 4e9, reads, writes, disk_read, disk_write, 0, 0]


@pytest.mark.req("B-315")
@pytest.mark.parametrize(
    ("row", "scores"),
    [
        (features(cpu=80), [1, 0, 100, 0, 0]),
        (features(cpu=80, reads=5000, writes=5000), [1, 0, 100, 0, 0]),
        (features(cpu=79, reads=1000, writes=1000), [2, 0, 0, 100, 0]),
        (features(reads=1000, writes=999), [0, 100, 0, 50, 0]),
        (features(disk_read=50 * MIB, disk_write=50 * MIB), [3, 0, 0, 0, 100]),
        (features(disk_read=50 * MIB, disk_write=50 * MIB - 1), [0, 100, 0, 0, 0]),
        (features(cpu=40), [0, 100, 50, 0, 0]),
        (features(cpu=39.9), [0, 100, 0, 0, 0]),
        (features(cpu=40, writes=500), [0, 100, 50, 50, 0]),
        (features(reads=499, writes=499), [0, 100, 0, 0, 0]),
    ],
)
def test_dummy_scorer_classifies_by_its_thresholds(row, scores):
    assert score_row(DummyScorer(), row) == scores


@pytest.mark.req("B-315")
def test_dummy_scorer_refuses_a_wrong_count():
    with pytest.raises(FeaturesRefused, match="needs 9 features, got 8"):
        score_row(DummyScorer(), features()[:8])


@pytest.mark.req("B-315")
@pytest.mark.parametrize("text", ['["1"]', "[true]", "[null]", '{"a": 1}', "3", "[1,"])
def test_features_of_a_wrong_type_are_refused(text):
    with pytest.raises(FeaturesRefused):
        parse_features(text)


@pytest.mark.req("B-315")
@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]"])
def test_features_that_are_not_finite_are_refused(text):
    with pytest.raises(FeaturesRefused, match="finite"):
        score_row(DummyScorer(), parse_features(text))


@pytest.mark.req("B-315")
def test_dummy_scorer_describes_its_columns():
    metainfo = json.loads(DummyScorer().metainfo)
    assert len(metainfo["feature_columns"]) == 9
    assert metainfo["result_columns"] == [
        "workload",
        "idle-probability",
        "cpu-probability",
        "memory-probability",
        "disk-probability",
    ]
    assert metainfo["workloads"] == [
        "idle",
        "cpu-intensive",
        "memory-intensive",
        "disk-intensive",
    ]


@pytest.mark.req("B-316")
@pytest.mark.parametrize(
    ("name", "score"), [("dummy_min_scorer", 1), ("dummy_max_scorer", 6), ("dummy_avg_scorer", 3.0)]
)
def test_the_dummy_container_gives_min_max_and_avg(name, score):
    engine = EngineRegistry().get(name)
    assert score_row(engine, [1, 2, 6]) == [score]
    with pytest.raises(FeaturesRefused, match="at least one"):
        score_row(engine, [])


def scorer(name):
    return AggregateScorer(name=name, description="", fold=min)


class ChangingContainer:
    def __init__(self):
        self.names = ["first"]

    def engines(self):
        return [scorer(name) for name in self.names]


class BrokenContainer:
    def engines(self):
        raise RuntimeError("no connection")


@pytest.mark.req("B-311")
def test_listing_asks_containers_again_without_a_restart():
    container = ChangingContainer()
    registry = EngineRegistry(engines=(), containers=(container,))
    assert [engine.name for engine in registry.list()] == ["first"]
    container.names = ["second"]
    assert registry.get("second").name == "second"
    with pytest.raises(NotFound, match="first could not be found"):
        registry.get("first")


class Plugin:
    def __init__(self, name, loaded):
        self.name = name
        self._loaded = loaded

    def load(self):
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.mark.req("B-002", "B-311")
def test_engines_and_containers_load_by_entry_point_and_a_broken_one_is_left_out():
    plugins = {
        ENGINE_GROUPS[0]: [
            Plugin("bad", ImportError("no module")),
            Plugin("mine", lambda: scorer("mine")),
        ],
        CONTAINER_GROUPS[0]: [Plugin("broken", BrokenContainer), Plugin("more", ChangingContainer)],
    }
    registry = EngineRegistry(
        engines=(), containers=(), plugins=lambda group: plugins.get(group, [])
    )
    assert [engine.name for engine in registry.list()] == ["first", "mine"]


@pytest.mark.req("B-314")
def test_a_name_that_is_taken_is_refused_and_the_first_engine_keeps_it():
    first = DummyScorer()
    registry = EngineRegistry(
        engines=(first, scorer("dummy_scorer")), containers=(DummyAggregatesContainer(),)
    )
    assert registry.get("dummy_scorer") is first
    assert len(registry.list()) == 4
