"""The host_maintenance strategy."""
