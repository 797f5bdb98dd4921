"""The storage_capacity_balance strategy."""
