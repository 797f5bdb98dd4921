"""Every strategy has its page, and the pages of the compute strategies have an example that a
test of the strategy runs."""

import importlib
from pathlib import Path

import pytest

from trimtab_decision.plugins import STRATEGIES


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_a_page_stands_beside_the_strategy_and_names_its_parameters(strategy):
    module = importlib.import_module(strategy.__module__)
    folder = Path(module.__file__).parent
    page = (folder / "README.md").read_text()
    assert folder.name == strategy.name
    assert f"Goal `{strategy.goal_name}`" in page
    for parameter in strategy.parameters_schema["properties"]:
        assert f"`{parameter}`" in page, parameter
    assert "xample" in page
