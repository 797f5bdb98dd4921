"""Settings: oslo.config reads operators' files here, once, and hands out frozen dataclasses.

Each service adds its own groups in its `settings.py`; only a `main.py` calls `load`.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from oslo_config import cfg

MAX_CONCURRENT_CALLS = 1_000
COMMON_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt("host", help="Name of this process's host in the record; default: the hostname."),
    cfg.BoolOpt("debug", default=False, help="Log at DEBUG and show causes of errors to callers."),
    cfg.StrOpt(
        "notification_level",
        default="info",
        choices=["", "debug", "info", "warning", "error", "critical"],
        help="Least priority of the notifications that are kept and sent; empty: none.",
    ),
]
TRIMTAB_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt("api_http", default="127.0.0.1:9323", help="Address of api's HTTP door."),
    cfg.StrOpt("api_grpc", default="127.0.0.1:9324", help="Address of api's gRPC door."),
    cfg.StrOpt("collector", default="127.0.0.1:9325", help="Address of collector."),
    cfg.ListOpt(
        "other_collectors",
        default=[],
        help="Addresses of further collectors of the same cloud, by IP: who finds that one does not "
        "answer asks the next.",
    ),
    cfg.StrOpt("decision", default="127.0.0.1:9326", help="Address of decision."),
    cfg.StrOpt("applier", default="127.0.0.1:9327", help="Address of applier."),
    cfg.StrOpt("scoring", default="127.0.0.1:9328", help="Address of scoring."),
    cfg.IntOpt(
        "metrics_offset",
        default=100,
        help="Metrics are served on a service's port plus this; 0 turns them off.",
    ),
    cfg.IntOpt(
        "max_concurrent_calls",
        default=MAX_CONCURRENT_CALLS,
        min=10,
        help="gRPC calls, open streams too, that a service takes at a time; more are refused.",
    ),
    cfg.StrOpt("log_format", default="console", choices=["console", "json"]),
    cfg.StrOpt("log_level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"]),
    cfg.BoolOpt(
        "insecure",
        default=False,
        help="Allow addresses beyond loopback without mutual TLS. Anyone who reaches them is in.",
    ),
    cfg.StrOpt("cloud", help="Name of the cloud in clouds.yaml; else the OpenStack groups apply."),
]
DATABASE_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt(
        "connection",
        default="sqlite+aiosqlite:///trimtab.db",
        secret=True,
        help="SQLAlchemy URL: sqlite+aiosqlite, postgresql+asyncpg or mysql+asyncmy.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonSettings:
    """What every service knows: who it is, where the others are, how to log."""

    host: str
    api_http: str = "127.0.0.1:9323"
    api_grpc: str = "127.0.0.1:9324"
    collector: str = "127.0.0.1:9325"
    other_collectors: tuple[str, ...] = ()
    decision: str = "127.0.0.1:9326"
    applier: str = "127.0.0.1:9327"
    scoring: str = "127.0.0.1:9328"
    metrics_offset: int = 100
    max_concurrent_calls: int = MAX_CONCURRENT_CALLS
    database: str = "sqlite+aiosqlite:///trimtab.db"
    notification_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    log_level: str = "INFO"
    insecure: bool = False
    debug: bool = False
    cloud: str | None = None

    @property
    def collectors(self) -> tuple[str, ...]:
        """All collectors, in the order in which they are asked; each once."""
        return tuple(dict.fromkeys((self.collector, *self.other_collectors)))

    def metrics_address(self, address: str) -> str | None:
        """Where the metrics of the service at `address` are served; None when they are off."""
        host, _, port = address.rpartition(":")
        if not self.metrics_offset or port == "0":
            return None
        return f"{host}:{int(port) + self.metrics_offset}"


def load(
    argv: Sequence[str],
    *,
    prog: str,
    groups: Mapping[str, Sequence[cfg.Opt]] | None = None,
) -> tuple[CommonSettings, cfg.ConfigOpts]:
    """Parses the command line and files, registering `groups` beside the common ones.

    Errors: oslo.config's own, which name the option and the file.
    """
    conf = cfg.ConfigOpts()
    conf.register_cli_opts(COMMON_OPTS)
    conf.register_opts(TRIMTAB_OPTS, group="trimtab")
    conf.register_opts(DATABASE_OPTS, group="database")
    for group, options in (groups or {}).items():
        conf.register_opts(options, group=None if group == "DEFAULT" else group)
    conf(list(argv), project="trimtab", prog=prog)
    section = conf.trimtab
    return (
        CommonSettings(
            host=conf.host or socket.gethostname(),
            api_http=section.api_http,
            api_grpc=section.api_grpc,
            collector=section.collector,
            other_collectors=tuple(section.other_collectors),
            decision=section.decision,
            applier=section.applier,
            scoring=section.scoring,
            metrics_offset=section.metrics_offset,
            max_concurrent_calls=section.max_concurrent_calls,
            database=conf.database.connection,
            notification_level=conf.notification_level,
            log_format=section.log_format,
            log_level="DEBUG" if conf.debug else section.log_level,
            insecure=section.insecure,
            debug=conf.debug,
            cloud=section.cloud,
        ),
        conf,
    )


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator: the options that every service reads."""
    return [("DEFAULT", COMMON_OPTS), ("trimtab", TRIMTAB_OPTS), ("database", DATABASE_OPTS)]
