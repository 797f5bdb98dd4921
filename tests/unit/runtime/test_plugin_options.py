"""Options that plug-ins declare: in the operator's files, in the sample file, handed to the plug-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from oslo_config import cfg

from trimtab_common.runtime.plugin_options import groups_of, merged, options_of
from trimtab_common.runtime.settings import load
from trimtab_decision.execution import Desk, Execution
from trimtab_decision.framework import Strategy
from trimtab_decision.planners.weight import WeightPlanner
from trimtab_decision.plugins import load_registry
from trimtab_decision.settings import DecisionSettings, groups, plugin_groups
from trimtab_scoring.discovery import configured
from trimtab_scoring.registry import EngineRegistry

SEEN = []


class Tunable(Strategy):
    name, display_name, goal_name = "tunable", "Tunable", "dummy"

    @classmethod
    def get_config_opts(cls):
        return [cfg.IntOpt("patience", default=3, help="How long to wait.")]

    def do_execute(self, context, solution):  # noqa: ARG002, its interface
        SEEN.append(dict(context.options))


class OwnPlanner(WeightPlanner):
    name = "own"

    @classmethod
    def get_config_opts(cls):
        return [cfg.StrOpt("taste", default="plain", help="Taste.")]


class OwnEngine:
    description, metainfo, n_features, n_scores = "own", "{}", 1, 1

    @classmethod
    def get_config_opts(cls):
        return [cfg.FloatOpt("factor", default=2.0, help="Times.")]

    def __init__(self, options):
        self.name = f"times_{options.factor:g}"


@pytest.fixture
def registry():
    loaded = load_registry(entry_points=False)
    loaded.strategies["tunable"] = Tunable
    loaded.planners["own"] = OwnPlanner
    return loaded


@pytest.mark.req("A-107", "B-034")
@pytest.mark.parametrize("value", [None, 7])
def test_a_strategy_gets_what_the_operator_wrote_for_it(registry, tmp_path, value):
    file = tmp_path / "trimtab.conf"
    file.write_text("" if value is None else f"[watcher_strategies.tunable]\npatience = {value}\n")
    plugins = plugin_groups(registry)
    known = merged(groups(registry.strategies), plugins)
    _, conf = load(["--config-file", str(file)], prog="t", groups=known)
    settings = DecisionSettings.from_conf(
        conf, host="h", strategies=registry.strategies, plugins=plugins
    )
    options = settings.strategy_options["tunable"]
    assert options == {"patience": value or 3}
    Desk(registry).execute(Execution(strategy="tunable", parameters={}, options=options))
    assert SEEN.pop() == options
    assert settings.planner_options["own"]["taste"] == "plain"
    assert "weights" in settings.planner_options["weight"]


@pytest.mark.req("A-107", "B-034")
def test_a_scoring_engine_gets_its_own_section(tmp_path):
    file = tmp_path / "trimtab.conf"
    file.write_text("[watcher_scoring_engines.mine]\nfactor = 4\n")
    _, conf = load(["--config-file", str(file)], prog="t")

    class Point:
        name = "mine"

        def load(self):
            return OwnEngine

    registry = EngineRegistry(
        engines=(),
        containers=(),
        plugins=lambda group: [Point()] if group == "watcher_scoring_engines" else [],
        configure=configured(conf),
    )
    assert [engine.name for engine in registry.list()] == ["times_4"]


@pytest.mark.req("A-107")
def test_without_options_there_are_none():
    assert options_of(load_registry(entry_points=False).strategies["dummy"]) == []
    assert groups_of("x", {"a": object, "b": Tunable}).keys() == {"x.b"}


@pytest.mark.req("A-107", "B-034")
def test_the_sample_file_has_the_options_of_installed_plug_ins(tmp_path):
    site = tmp_path / "site"
    info = site / "late-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: late\nVersion: 1.0\n")
    points = ("trimtab_strategies", "watcher_scoring_engines")
    (info / "entry_points.txt").write_text(
        "".join(f"[{group}]\nlate = late_options:Late\n" for group in points)
    )
    (site / "late_options.py").write_text(
        "from oslo_config import cfg\n"
        "class Late:\n"
        "    name, goal_name = 'late', 'dummy'\n"
        "    @classmethod\n"
        "    def get_config_opts(cls):\n"
        "        return [cfg.IntOpt('lateness', default=5, help='How late.')]\n"
    )
    command = [Path(sys.executable).parent / "oslo-config-generator"]
    for name in (
        "trimtab",
        *(f"trimtab.{s}" for s in ["api", "applier", "collector", "decision", "scoring"]),
    ):
        command += ["--namespace", name]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert "[watcher_strategies.late]" in done.stdout
    assert "[watcher_scoring_engines.late]" in done.stdout
    assert done.stdout.count("#lateness = 5") == 2
    for section in ("[api]", "[watcher_applier]", "[collector]", "[watcher_planners.weight]"):
        assert section in done.stdout
