"""Runs watcher-tempest-plugin and the stock client's functional tests, unmodified, against Trimtab.

Both come from their packages, into build/tempest. Keystone is that of the real cloud, which must be
up (`python tools/cloud_tests.py` starts one); Trimtab is started here on free ports, and found by
way of a region of its own in Keystone's catalogue, which goes again at the end.

    python tools/tempest_tests.py api|client|scenario [REGEX]

`scenario` acts on all servers of the administrator's project: it wants a cloud without servers, and
has surroundings of its own (tempest_surroundings.py).

Each test stands in build/tempest/<suite>.md with its result. Exit code 1 when a test did not pass and
tests/golden/tempest_differences.txt does not say why it may not.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloud_tests  # type: ignore[import-not-found]  # beside this file
import tempest_surroundings  # type: ignore[import-not-found]  # same

from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.system import running

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / "build" / "tempest"
DIFFERENCES = ROOT / "tests" / "golden" / "tempest_differences.txt"
BROKER = "rabbit://guest:guest@127.0.0.1:5672/"
"""The cloud's: with notifications, as Watcher is installed."""
INSTALL_LIMIT_S, TESTS_LIMIT_S = 400.0, 5400.0
SUITES = {
    "api": "watcher_tempest_plugin/tests/api",
    "client": "watcherclient/tests/client_functional",
    "scenario": "watcher_tempest_plugin/tests/scenario",
}
LINE = re.compile(
    r"^\{\d+\} (setUpClass \([\w.]+\)|\S+?)(?:\[\S*\])? (?:\[[\d.]+s\] )?"
    r"\.\.\. (ok|FAILED|SKIPPED)(.*)$",
    re.MULTILINE,
)
WHOLE_CLASS = re.compile(r"^setUpClass \((.*)\)$")
CONFIGURATION = """\
[DEFAULT]
log_file = {home}/tempest.log
[oslo_concurrency]
lock_path = {home}/locks
[auth]
admin_username = {OS_USERNAME}
admin_password = {OS_PASSWORD}
admin_project_name = {OS_PROJECT_NAME}
admin_domain_name = Default
use_dynamic_credentials = True
create_isolated_networks = False
[identity]
uri_v3 = {OS_AUTH_URL}
auth_version = v3
region = {OS_REGION_NAME}
v3_endpoint_type = public
[identity-feature-enabled]
api_v3 = True
[service_available]
cinder = False
neutron = False
swift = False
watcher = True
{more}
[optimize]
min_microversion = 1.0
max_microversion = latest
datasource = {datasource}
"""
SCENARIO = """\
[network]
public_network_id = none
[compute]
image_ref = {image}
flavor_ref = {flavor}
flavor_ref_alt = {other_flavor}
min_compute_nodes = 2
min_microversion = 2.1
max_microversion = latest
[placement]
min_microversion = 1.6
max_microversion = latest
[compute-feature-enabled]
live_migration = True
cold_migration = True
resize = True
can_migrate_between_any_hosts = True
[network-feature-enabled]
floating_ips = False
[validation]
run_validation = False
"""
SCENARIO_OPTIMIZE = """\
prometheus_port = {prometheus}
prometheus_promtool = {promtool}
run_continuous_audit_tests = True
run_extended_attributes_tests = True
run_zone_migration_extra_tests = True
run_skipped_action_tests = True
"""
TRIMTAB_IN_SCENARIOS = """\
[prometheus_client]
host = 127.0.0.1
port = {prometheus}
[compute_model]
enable_extended_attributes = True
"""


def main(arguments: Sequence[str]) -> int:
    """The command; its exit code."""
    if not arguments or arguments[0] not in SUITES:
        print(f"usage: tempest_tests.py {'|'.join(SUITES)} [REGEX]")
        return 2
    suite, *only = arguments
    install()
    shutil.rmtree(HOME / "state", ignore_errors=True)  # its database may be of another schema
    with contextlib.ExitStack() as stack:
        around = stack.enter_context(surroundings()) if suite == "scenario" else Surroundings()
        spec = SystemSpec(
            state_dir=HOME / "state",
            ports=ports.free_row(),
            cloud="watcher",
            rabbit_url=BROKER,
            ready_timeout_s=300,
            extra_config=around.trimtab,
        )
        system = stack.enter_context(running(spec, say=print))
        endpoints = {"infra-optim": system.url, **around.endpoints}
        region = own_region(endpoints, f"trimtab-{spec.ports.gateway}")
        run(suite, only, stack.enter_context(region), around)
    return report(suite)


@dataclass(frozen=True)
class Surroundings:
    """What a suite needs beside Trimtab: parts of two configurations, and endpoints by service."""

    trimtab: str = ""
    tempest: str = ""
    optimize: str = ""
    datasource: str = ""
    endpoints: Mapping[str, str] = field(default_factory=dict)


@contextlib.contextmanager
def surroundings() -> Iterator[Surroundings]:
    """Those of the scenarios. SystemExit where the cloud has servers: the tests would take them."""
    import openstack

    with openstack.connect(cloud="devcloud", app_name="trimtab-tests") as cloud:
        if servers := list(cloud.compute.servers(details=False, all_projects=True)):
            raise SystemExit(
                f"The cloud has {len(servers)} servers; the scenarios would take them for their own. "
                "Delete them first."
            )
        hosts = [s.host for s in cloud.compute.services(binary="nova-compute")]
        flavors = {f.name: f.id for f in cloud.compute.flavors()}
        image = cloud.image.find_image("cirros", ignore_missing=False)
    with (
        tempest_surroundings.nova_door() as nova,
        tempest_surroundings.prometheus(HOME, hosts) as prometheus,
    ):
        yield Surroundings(
            trimtab=TRIMTAB_IN_SCENARIOS.format(prometheus=prometheus),
            tempest=SCENARIO.format(
                image=image.id, flavor=flavors["m1.tiny"], other_flavor=flavors["m1.small"]
            ),
            optimize=SCENARIO_OPTIMIZE.format(
                prometheus=prometheus, promtool=tempest_surroundings.promtool(HOME)
            ),
            datasource="prometheus",
            endpoints={"compute": nova},
        )


def install() -> None:
    """Makes the environment once; it must not share libraries with what it tests."""
    if (HOME / "bin" / "stestr").exists():
        return
    python = HOME / "bin" / "python"
    cloud_tests.run(sys.executable, "-m", "venv", HOME, limit_s=INSTALL_LIMIT_S)
    uv = Path(sys.executable).parent / "uv"
    what = ("--group", "tempest", "-c", ROOT / "constraints.txt")
    cloud_tests.run(
        *(uv, "pip", "install", "-q", "--python", python, *what), limit_s=INSTALL_LIMIT_S
    )


@contextlib.contextmanager
def own_region(endpoints: Mapping[str, str], name: str) -> Iterator[Mapping[str, str]]:
    """A region of Keystone's catalogue with these endpoints, by type; gives who may ask there."""
    import openstack
    from openstack.identity.v3 import _proxy

    with openstack.connect(cloud="devcloud", app_name="trimtab-tests") as cloud:
        identity = cloud.identity
        assert isinstance(identity, _proxy.Proxy)  # noqa: S101, the cloud speaks v3
        services = {s.type: s.id for s in identity.services()}
        _remove_region(identity, name)  # one that a killed run has left
        auth = cloud.config.config["auth"]
        try:
            identity.create_region(id=name, description="tests of Trimtab")
            for kind, url in endpoints.items():
                identity.create_endpoint(
                    service_id=services[kind], interface="public", url=url, region_id=name
                )
            yield {
                "PATH": f"{HOME / 'bin'}{os.pathsep}{os.environ['PATH']}",
                "OS_AUTH_URL": auth["auth_url"],
                "OS_USERNAME": auth["username"],
                "OS_PASSWORD": auth["password"],
                "OS_PROJECT_NAME": auth["project_name"],
                # the client's tests give these as names too, which Keystone takes in any case
                "OS_USER_DOMAIN_ID": "default",
                "OS_PROJECT_DOMAIN_ID": "default",
                "OS_REGION_NAME": name,
            }
        finally:
            _remove_region(identity, name)


def _remove_region(identity: Any, name: str) -> None:
    for endpoint in identity.endpoints(region_id=name):
        identity.delete_endpoint(endpoint)
    identity.delete_region(name, ignore_missing=True)


def run(
    suite: str, only: Sequence[str], environment: Mapping[str, str], around: Surroundings
) -> None:
    """Runs the tests one after the other; their lines are kept in build/tempest/<suite>.log."""
    site = next((HOME / "lib").glob("python3*")) / "site-packages"
    text = CONFIGURATION.format(
        home=HOME, more=around.tempest, datasource=around.datasource, **environment
    )
    (HOME / "tempest.conf").write_text(text + around.optimize)
    (HOME / "stestr.conf").write_text(
        f"[DEFAULT]\ntest_path={site / SUITES[suite]}\ntop_dir={site}\n"
    )
    command = [str(HOME / "bin" / "stestr"), "--config", str(HOME / "stestr.conf")]
    command += ["run", "--serial", *only]
    with (HOME / f"{suite}.log").open("wb") as log:
        subprocess.run(  # noqa: S603, our own command
            command,
            cwd=HOME,
            env={**environment, "TEMPEST_CONFIG_DIR": str(HOME), "PYTHONWARNINGS": "ignore"},
            stdout=log,
            stderr=subprocess.STDOUT,
            timeout=TESTS_LIMIT_S,
            check=False,
        )


def report(suite: str) -> int:
    """Writes the table; 1 when a test did not pass that should have."""
    found = LINE.findall((HOME / f"{suite}.log").read_text(errors="replace"))
    allowed = dict(
        line.split(" ", 1) for line in DIFFERENCES.read_text().splitlines() if line[:1].isalpha()
    )
    rows, wrong = ["| test | result | why |", "|---|---|---|"], []
    for said, result, rest in found:
        name = WHOLE_CLASS.sub(r"\1, all of it", said)
        why = allowed.get(name, "") if result == "FAILED" else rest.strip(": ")
        rows.append(f"| {name} | {result.replace('ok', 'passed')} | {why} |")
        if result == "FAILED" and not why:
            wrong.append(name)
    (HOME / f"{suite}.md").write_text("\n".join(rows) + "\n")
    print(
        f"{suite}: {dict(Counter(result for _, result, _ in found))}; see build/tempest/{suite}.md"
    )
    for name in wrong:
        print(f"failed: {name}")
    return 1 if wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
