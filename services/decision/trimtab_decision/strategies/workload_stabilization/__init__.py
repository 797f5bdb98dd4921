"""The workload_stabilization strategy."""
