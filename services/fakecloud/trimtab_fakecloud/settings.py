"""What the fake cloud is told when it starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CloudSpec:
    """Contents and manners of a cloud. All times in seconds."""

    hosts: int = 8
    servers: int = 40
    seed: int = 1
    volumes: int = 12
    cluster_file: Path | None = None
    """Contents from a file of format ``peer-cluster/1`` instead of the generator."""

    migration_s: float = 0.3
    """How long the memory copy of a live migration takes."""
    migration_jitter_ratio: float = 0.2
    """Drawn evenly within plus or minus this part of ``migration_s``."""
    fail_ratio: float = 0.0
    """The part of the live migrations that fail while they run."""
    max_concurrent_live_migrations: int = 1
    """For each source host, as Nova's option of that name."""
    resize_s: float = 0.1
    """How long a cold migration or a resize takes."""
    power_s: float = 0.02
    """How long stopping, starting, pausing, creating and deleting take."""
    volume_s: float = 0.2
    """How long migrating or retyping a volume takes."""
    node_power_s: float = 0.2
    """How long a machine takes to go on or off."""

    token_lifetime_s: float = 3600.0
    page_limit: int = 1000
    """The longest page, as Nova's ``[api] max_limit``."""
    infra_optim_url: str = "http://127.0.0.1:9322"
    metric_storage_url: str = ""
    """Of an Aetos in the catalogue; empty: the fake one."""

    rabbit_url: str | None = None
    """Where Nova's notifications are sent; None: nowhere."""
    notification_exchange: str = ""
    """Empty: ``nova-fakecloud-PORT``, so that clouds on one broker do not mix."""
