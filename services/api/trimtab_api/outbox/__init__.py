"""Sends what the outbox keeps: one leased publisher, whichever api holds the lease."""
