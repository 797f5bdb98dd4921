"""The dummy_with_resize strategy."""
