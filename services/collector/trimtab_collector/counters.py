"""What collector counts for /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from trimtab_common.domain.compute import ComputeModel

HOSTS = Gauge("trimtab_model_hosts", "Hosts in the compute model.")
SERVERS = Gauge("trimtab_model_servers", "Servers in the compute model.")
REVISION = Gauge("trimtab_model_revision", "Revision of the compute model.")
ELEMENTS = Gauge(
    "trimtab_model_elements", "Elements of the storage and baremetal models.", ["kind"]
)
SYNC_SECONDS = Histogram(
    "trimtab_model_sync_seconds",
    "Time of a full read of the cloud.",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 600),
)
FAILED_READS = Counter("trimtab_model_failed_reads", "Reads of the cloud that failed.")
WATCHERS = Gauge("trimtab_model_watchers", "Streams of the model that are open.")
FORGOTTEN = Counter(
    "trimtab_model_forgotten", "Entries that the log of deltas dropped because it was full."
)
SLOW_READERS = Counter(
    "trimtab_model_slow_readers", "Streams ended because their reader fell too far behind."
)
METRIC_QUERIES = Counter(
    "trimtab_metric_queries", "Queries sent to datasources.", ["datasource", "outcome"]
)
NOTIFICATIONS = Counter(
    "trimtab_notifications",
    "Notifications of the cloud by what became of them: applied, ignored, late, early, malformed.",
    ["outcome"],
)
NOTIFICATIONS_CONNECTED = Gauge(
    "trimtab_notifications_connected", "Whether the notification queue is consumed now."
)
NOTIFICATION_QUEUE_DEPTH = Gauge(
    "trimtab_notification_queue_depth", "Messages that wait in the notification queue."
)


def observe(model: ComputeModel) -> None:
    """Shows the size and revision of the model."""
    HOSTS.set(model.n_hosts)
    SERVERS.set(model.n_servers)
    REVISION.set(model.revision)
