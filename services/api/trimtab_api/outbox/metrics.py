"""What api counts about its outbox for /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PUBLISHED = Counter(
    "trimtab_outbox_published", "Notifications that left the outbox, by outcome.", ["outcome"]
)
FAILURES = Counter("trimtab_outbox_failures", "Attempts to send that failed.")
WAITING = Gauge("trimtab_outbox_waiting", "Notifications at the last look, one batch at most.")
OLDEST_SECONDS = Gauge("trimtab_outbox_oldest_seconds", "Age of the oldest one that waits.")
