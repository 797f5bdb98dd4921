"""The workload_balance strategy."""
