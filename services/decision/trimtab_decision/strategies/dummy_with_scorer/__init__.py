"""The dummy_with_scorer strategy."""
