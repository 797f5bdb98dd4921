"""Every command of the unmodified stock client, by both its programs, before the fake cloud's Keystone.

The table is stock_commands.yaml. Each command is a process, so of the client's ten pairs of program
and version two run here; tests/cloud runs all ten before the real Keystone.
"""

from __future__ import annotations

import os
from pathlib import Path

import cloud_tests
import pytest
from stock_commands import CLIENT, Client, as_markdown, run_table

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

SCOPE = '- compute:\n  - availability_zones:\n    - name: "*"\n'


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What an operator would have exported to reach a system before the fake cloud's Keystone."""
    if not CLIENT.exists():
        assert cloud_tests.install_client() == 0
    row = ports.free_row()
    spec = SystemSpec(
        state_dir=Path(tmp_path_factory.mktemp("stock")),
        ports=row,
        auth="keystone",
        fakecloud_args=(
            *("--hosts", "3", "--servers", "6"),
            *("--infra-optim-url", f"http://127.0.0.1:{row.gateway}"),
        ),
    )
    with running(spec, say=lambda _line: None) as started:
        yield {
            "PATH": os.environ["PATH"],
            "OS_AUTH_URL": f"{started.fakecloud_url}/identity/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": "secret",
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "RegionOne",
            "OS_IDENTITY_API_VERSION": "3",
        }


@pytest.mark.timeout(400)
@pytest.mark.req("A-004", "A-023", "A-136", "A-137", "A-138", "A-139")
@pytest.mark.parametrize(("program", "version"), [("openstack", "1.latest"), ("watcher", "1.1")])
def test_every_command_with_every_option_is_answered_as_the_client_expects(
    environment, tmp_path, program, version
):
    scope = tmp_path / "scope.yaml"
    scope.write_text(SCOPE)
    with Client(environment) as client:
        rows = run_table(client, program, version, scope)
    wrong = [row for row in rows if row.problem]
    assert not wrong, as_markdown(wrong)
