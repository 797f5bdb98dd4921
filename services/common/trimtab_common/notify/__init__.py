"""What the bus is told: payloads of every event, and the face of whoever sends them."""

from trimtab_common.notify.events import Event, Notifier, Priority, is_enabled

__all__ = ["Event", "Notifier", "Priority", "is_enabled"]
