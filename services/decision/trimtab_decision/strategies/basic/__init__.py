"""The basic strategy."""
