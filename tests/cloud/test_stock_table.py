"""The table of stock commands (tests/system/stock_commands.yaml) before the real Keystone.

Trimtab is found by way of a region of its own in the catalogue, wherever it listens. The rows as they
were answered are kept in build/stock-commands.md.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from stock_commands import PROGRAMS, VERSIONS, Client, Row, as_markdown, run_table
from tempest_tests import own_region

KEPT = Path(__file__).parents[2] / "build" / "stock-commands.md"
SCOPE = '- compute:\n  - availability_zones:\n    - name: "*"\n'


@pytest.fixture(scope="module")
def environment(system, clouds_yaml):
    del clouds_yaml
    endpoints = {"infra-optim": system.url}
    with own_region(endpoints, f"stock-{system.ports.gateway}") as environment:
        yield environment


@pytest.fixture(scope="module")
def table():
    rows: list[Row] = []
    yield rows
    KEPT.parent.mkdir(exist_ok=True)
    KEPT.write_text(as_markdown(rows))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.req("A-004", "A-023", "A-033", "A-136", "A-137", "A-138")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_with_every_option_works_before_the_real_keystone(
    environment, table, tmp_path, program, version
):
    scope = tmp_path / "scope.yaml"
    scope.write_text(SCOPE)
    with Client(environment) as client:
        rows = run_table(client, program, version, scope)
    table += rows
    wrong = [row for row in rows if row.problem]
    assert not wrong, as_markdown(wrong)
