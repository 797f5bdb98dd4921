"""The actuator strategy."""
