"""The zone_migration strategy."""
