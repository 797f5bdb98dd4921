"""The whole system, as `trimtab up` starts it: real processes, Envoy in front, the fake cloud behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.rest import RestClient
from trimtab_cli.system import System, running


@pytest.fixture(scope="session")
def system(tmp_path_factory):
    state = Path(tmp_path_factory.mktemp("system"))
    spec = SystemSpec(
        state_dir=state,
        ports=ports.free_row(),
        fakecloud_args=(
            "--hosts",
            "6",
            "--servers",
            "24",
            "--seed",
            "7",
            "--migration-seconds",
            "0.2",
        ),
        extra_config=(
            "[watcher_decision_engine]\nevent_trigger_interval = 1\nevent_trigger_debounce = 2\n"
        ),
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.fixture
def rest(system: System):
    client = RestClient(system.url)
    yield client
    client.close()


@pytest.fixture
def trimtab(system: System):
    """Runs the `trimtab` command against the system; gives the finished process."""
    import subprocess
    import sys

    def run(*arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(Path(sys.executable).parent / "trimtab"), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, "TRIMTAB_ADDRESS": f"127.0.0.1:{system.ports.gateway}"},
        )

    return run
