"""The real OpenStack of the reference folder, and Trimtab up against it.

The cloud is brought up by tools/cloud_tests.py; here it must answer. Every test of this folder is
marked `cloud`. Set TRIMTAB_CLOUD_STATE to a folder to keep the system's logs and database there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cloud_processes import CloudProcesses
from real_cloud import RealCloud
from real_storage import RealStorage

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.rest import RestClient
from trimtab_cli.system import System, running

HERE = Path(__file__).parent
STOCK_CLIENT = HERE.parent.parent / "build" / "stock-client" / "bin" / "openstack"
LIMIT_S = 300
CATALOGUE_PORT = 9322
"""Where the cloud's catalogue says that infra-optim is."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cloud)
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(LIMIT_S))
            # openstacksdk warns of its own inner use of what it will remove
            item.add_marker(
                pytest.mark.filterwarnings("ignore::openstack.warnings._RemovedInSDKWarning")
            )


@pytest.fixture(scope="session")
def clouds_yaml(reference: Path) -> Iterator[Path]:
    """The cloud's clouds.yaml, which the children of this process find too."""
    path = reference / "cloud" / "clouds.yaml"
    assert path.is_file(), f"{path} is missing"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OS_CLIENT_CONFIG_FILE", str(path))
        yield path


@pytest.fixture(scope="session")
def cloud(clouds_yaml: Path) -> Iterator[RealCloud]:
    """The cloud, seen by its administrator; tidied up at the end."""
    del clouds_yaml
    import openstack

    with openstack.connect(cloud="devcloud", app_name="trimtab-tests") as connection:
        real = RealCloud(connection)
        yield real
        real.tidy()


@pytest.fixture(scope="session")
def storage(cloud: RealCloud) -> Iterator[RealStorage]:
    """The cloud's Cinder; tidied up at the end."""
    real = RealStorage(cloud.connection)
    yield real
    real.tidy()


@pytest.fixture
def note(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, object], None]:
    """Shows what was measured, and keeps it in the JUnit file."""

    def keep(name: str, value: object) -> None:
        request.node.user_properties.append((name, str(value)))
        with capsys.disabled():
            sys.stdout.write(f"\n{name}: {value}")
            sys.stdout.flush()

    return keep


@pytest.fixture(scope="session")
def processes(reference: Path, cloud: RealCloud) -> CloudProcesses:
    """The cloud's own processes."""
    return CloudProcesses(reference / "cloud", len(cloud.services()))


@pytest.fixture(scope="session")
def system(
    cloud: RealCloud, rabbitmq_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    """Trimtab as `trimtab up --cloud watcher` starts it, with Nova's notifications.

    At the catalogue's port when it is free.
    """
    del cloud
    kept = os.environ.get("TRIMTAB_CLOUD_STATE")
    row = ports.Ports()
    spec = SystemSpec(
        state_dir=Path(kept) if kept else tmp_path_factory.mktemp("system"),
        ports=ports.free_row() if row.taken() else row,
        cloud="watcher",
        rabbit_url=rabbitmq_url,
        ready_timeout_s=180,
    )
    with running(spec, say=lambda _line: None) as started:
        yield started


@pytest.fixture
def token(cloud: RealCloud) -> str:
    """An administrator's."""
    return str(cloud.connection.auth_token)


@pytest.fixture
def rest(system: System, token: str) -> Iterator[RestClient]:
    client = RestClient(system.url, token=token)
    yield client
    client.close()


@pytest.fixture
def uneven(cloud: RealCloud) -> RealCloud:
    """The cloud with every host enabled and in use."""
    cloud.uneven()
    return cloud


@pytest.fixture
def optimize(system: System, clouds_yaml: Path) -> Callable[..., Any]:
    """Runs the stock client, `openstack optimize ...`, as installed by tools/cloud_tests.py."""
    del clouds_yaml
    assert STOCK_CLIENT.exists(), "no stock client: run `python tools/cloud_tests.py client`"
    assert system.ports.gateway == CATALOGUE_PORT, (
        f"something else listens on {CATALOGUE_PORT}, which the catalogue names and which the stock "
        "client therefore speaks to: stop it (another `trimtab up`?)"
    )

    def run(*arguments: str) -> Any:
        command = [str(STOCK_CLIENT), "--os-cloud", "devcloud", "optimize", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
        return json.loads(done.stdout) if "json" in arguments else done.stdout

    return run


@pytest.fixture
def trimtab(system: System, clouds_yaml: Path) -> Callable[..., list[str]]:
    """The `trimtab` command line against the system, as an operator with a clouds.yaml types it."""
    del clouds_yaml

    def command(*arguments: str) -> list[str]:
        return [
            str(Path(sys.executable).parent / "trimtab"),
            *("--address", f"127.0.0.1:{system.ports.gateway}", "--cloud", "devcloud"),
            *arguments,
        ]

    return command
