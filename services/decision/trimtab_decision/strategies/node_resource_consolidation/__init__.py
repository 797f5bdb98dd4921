"""The node_resource_consolidation strategy."""
