"""The planners: pure functions from proposed actions to a graph."""
