"""Engines written for Watcher, and packages that come and go while a registry lives."""

from __future__ import annotations

import json
import sys

import pytest

from trimtab_scoring.engine import EngineFailed
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.scores import score_row


class WatcherScorer:
    """As Watcher's interface has it: text in, text out."""

    def __init__(self, answer="[1, 2]"):
        self.answer = answer

    def get_name(self):
        return "old_scorer"

    def get_description(self):
        return "An old one"

    def get_metainfo(self):
        return json.dumps({"feature_columns": ["a", "b"], "result_columns": ["x", "y"]})

    def calculate_score(self, features):
        assert isinstance(features, str)
        return self.answer


class SpecifiedScorer:
    """As the specification has it: numbers in, numbers out, a map of texts."""

    def get_engine_id(self):
        return "specified"

    def get_model_metadata(self):
        return {"algorithm": "sum"}

    def calculate_score(self, features):
        return [features[0] + features[1]]


class WatcherContainer:
    def get_scoring_engine_list(self):
        return [WatcherScorer(), SpecifiedScorer()]


class Point:
    def __init__(self, name, made):
        self.name = name
        self._made = made

    def load(self):
        return self._made


@pytest.mark.req("B-310", "B-311")
def test_engines_and_containers_of_watchers_kind_are_understood():
    points = {"watcher_scoring_engine_containers": [Point("old", WatcherContainer)]}
    registry = EngineRegistry(
        engines=(), containers=(), plugins=lambda group: points.get(group, [])
    )
    assert [engine.name for engine in registry.list()] == ["old_scorer", "specified"]
    assert registry.get("old_scorer").description == "An old one"
    assert score_row(registry.get("old_scorer"), [1.0, 2.0]) == [1, 2]
    assert score_row(registry.get("specified"), [1.0, 2.0]) == [3]
    assert json.loads(registry.get("specified").metainfo) == {"algorithm": "sum"}


@pytest.mark.parametrize("answer", ["{}", "no json", '["a", "b"]', "[1]", "[1, NaN]"])
def test_an_answer_that_is_no_scores_is_a_failure_of_the_engine(answer):
    points = {"watcher_scoring_engines": [Point("old", lambda: WatcherScorer(answer))]}
    registry = EngineRegistry(
        engines=(), containers=(), plugins=lambda group: points.get(group, [])
    )
    with pytest.raises(EngineFailed, match="old_scorer"):
        score_row(registry.get("old_scorer"), [1.0, 2.0])


@pytest.mark.parametrize(
    "broken",
    [
        {"description": "without a name"},
        {"name": "", "description": "", "metainfo": "", "n_features": 1, "n_scores": 1},
        {"name": "x", "description": "", "metainfo": {}, "n_features": 1, "n_scores": 1},
        {"name": "x", "description": "", "metainfo": "", "n_features": 0, "n_scores": 1},
    ],
)
def test_what_is_no_engine_is_left_out_and_the_others_stay(broken):
    made = type("Broken", (), broken)
    points = {
        "watcher_scoring_engines": [Point("a", made), Point("b", WatcherScorer)],
    }
    registry = EngineRegistry(
        engines=(), containers=(), plugins=lambda group: points.get(group, [])
    )
    assert [engine.name for engine in registry.list()] == ["old_scorer"]


MODULE = """\
class Late:
    name, description, metainfo = "late", "came later", "{}"
    n_features, n_scores = 1, 1

    def calculate_score(self, features):
        return features
"""


@pytest.mark.req("B-311", "B-002")
def test_an_entry_point_that_is_installed_later_is_loaded_and_one_removed_is_dropped(
    tmp_path, monkeypatch
):
    monkeypatch.syspath_prepend(tmp_path)
    registry = EngineRegistry(engines=(), containers=())
    assert list(registry.list()) == []
    (tmp_path / "late_engine_of_this_test.py").write_text(MODULE)
    info = tmp_path / "late-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    points = info / "entry_points.txt"
    points.write_text("[watcher_scoring_engines]\nlate = late_engine_of_this_test:Late\n")
    assert score_row(registry.get("late"), [7.0]) == [7.0]
    points.unlink()
    info.rename(tmp_path / "removed")
    assert list(registry.list()) == []
    sys.modules.pop("late_engine_of_this_test", None)
