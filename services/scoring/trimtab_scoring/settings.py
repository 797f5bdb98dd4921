"""Settings of the scoring service, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from trimtab_scoring.discovery import list_plugin_opts

GROUP = "scoring"
SCORING_OPTS: Sequence[cfg.Opt] = [
    cfg.StrOpt(
        "remote_engines_file",
        help="YAML file of engines on other servers of the Open Inference Protocol v2; read again "
        "when it changes.",
    ),
    cfg.FloatOpt(
        "reload_interval_s",
        default=10.0,
        min=0.1,
        help="Seconds between looks for engines that were installed or removed.",
    ),
    cfg.FloatOpt(
        "engine_timeout_s",
        default=30.0,
        min=0.1,
        help="Limit of one question to an engine, whatever its caller would wait.",
    ),
    cfg.IntOpt("engine_threads", default=2, min=1, help="Threads of each engine."),
    cfg.IntOpt(
        "engine_max_calls",
        default=64,
        min=1,
        help="Questions under way or waiting for one engine; more are refused.",
    ),
]
GROUPS: Mapping[str, Sequence[cfg.Opt]] = {GROUP: SCORING_OPTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSettings:
    """What the service needs to know; defaults are those of the options."""

    remote_engines_file: Path | None = None
    reload_interval_s: float = 10.0
    engine_timeout_s: float = 30.0
    engine_threads: int = 2
    engine_max_calls: int = 64

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> ScoringSettings:
        """The values of an operator's files."""
        group = conf[GROUP]
        file = group.remote_engines_file
        return cls(
            remote_engines_file=Path(file) if file else None,
            reload_interval_s=group.reload_interval_s,
            engine_timeout_s=group.engine_timeout_s,
            engine_threads=group.engine_threads,
            engine_max_calls=group.engine_max_calls,
        )


def list_opts() -> list[tuple[str, Sequence[cfg.Opt]]]:
    """For oslo-config-generator: every option of this service, those of installed plug-ins too."""
    return [*GROUPS.items(), *list_plugin_opts()]
