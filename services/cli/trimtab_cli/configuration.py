"""What `up` starts, and the one configuration file that it writes for all services."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from trimtab_cli import gateway
from trimtab_cli.ports import Ports

ACTIONS_AT_ONCE = 16  # they wait for Nova, not for a processor; the planner bounds them first
NOVA_EXCHANGE = "nova"
UNVERSIONED_EXCHANGES = ("cinder", "openstack")
"""Cinder's: oslo.messaging's default is `openstack`, installers set `cinder`."""
PROMETHEUS_PORT = 9090
FAKECLOUD_MODELS = """\
collector_plugins = compute,storage,baremetal
element_poll_interval = 2
"""
"""The fake cloud has an Ironic; an operator's collector reads what its own files name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemSpec:
    """What to start. `cloud` None means the fake cloud, shaped by `fakecloud_args`.

    `auth`: keystone or none; None means keystone before a real cloud, none before the fake one.
    `rabbit_url`: the broker of Nova's notifications; None means polling only. The fake cloud sends
    them there too. `config_files`: an operator's own, read after ours.
    `other_collectors`: started by somebody else.
    """

    state_dir: Path
    ports: Ports = field(default_factory=Ports)
    cloud: str | None = None
    auth: str | None = None
    fakecloud_args: tuple[str, ...] = ("--hosts", "8", "--servers", "40")
    extra_config: str = ""
    database: str | None = None
    rabbit_url: str | None = None
    config_files: tuple[Path, ...] = ()
    other_collectors: tuple[str, ...] = ()
    max_stream_age_s: int = gateway.MAX_STREAM_AGE_S
    ready_timeout_s: float = 60.0


def database_of(spec: SystemSpec) -> str:
    """The SQLAlchemy URL of the record."""
    return spec.database or f"sqlite+aiosqlite:///{spec.state_dir}/trimtab.db"


def exchange_of(spec: SystemSpec) -> str:
    """Where Nova's notifications are sent: each fake cloud has one exchange, for all its services."""
    return NOVA_EXCHANGE if spec.cloud else f"nova-fakecloud-{spec.ports.fakecloud}"


def write(spec: SystemSpec) -> Path:
    """Writes the file, readable by its owner alone (it may hold passwords), and gives its path."""
    path = spec.state_dir / "trimtab.conf"
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(_text(spec))
    return path


def _text(spec: SystemSpec) -> str:
    ports = spec.ports
    exchange = exchange_of(spec)
    others = UNVERSIONED_EXCHANGES if spec.cloud else (exchange,)
    topics = [f"{exchange}.versioned_notifications", *(f"{x}.notifications" for x in others)]
    services = ("collector", "decision", "applier", "scoring")
    addresses = "\n".join(f"{name} = {ports.address(name)}" for name in services)
    notifications = f"""\
[oslo_messaging_notifications]
transport_url = {spec.rabbit_url}
[watcher_decision_engine]
notification_topics = {",".join(topics)}
"""
    return f"""\
[database]
connection = {database_of(spec)}
[trimtab]
api_http = 127.0.0.1:{ports.api_http}
api_grpc = {ports.address("api")}
{addresses}
other_collectors = {",".join(spec.other_collectors)}
cloud = {spec.cloud or "watcher"}
[api]
auth = {spec.auth or ("keystone" if spec.cloud else "none")}
max_stream_age = {spec.max_stream_age_s}
[collector]
max_stream_age = {spec.max_stream_age_s}
{"" if spec.cloud else FAKECLOUD_MODELS}
[prometheus_client]
host = 127.0.0.1
port = {PROMETHEUS_PORT if spec.cloud else ports.fakecloud}
[watcher_workflow_engines.taskflow]
max_workers = {ACTIONS_AT_ONCE}
{notifications if spec.rabbit_url else ""}
{spec.extra_config}
"""
