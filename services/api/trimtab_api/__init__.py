"""The public face: Watcher's REST, the typed services, the record, the wake-ups."""
