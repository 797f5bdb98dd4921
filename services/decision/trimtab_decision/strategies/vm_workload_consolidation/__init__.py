"""The vm_workload_consolidation strategy."""
