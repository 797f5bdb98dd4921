"""The dummy strategy."""
