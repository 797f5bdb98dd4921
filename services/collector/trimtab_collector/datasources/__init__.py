"""Datasources: where measured load comes from, whichever system keeps it."""
