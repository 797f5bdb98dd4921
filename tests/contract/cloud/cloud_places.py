"""Names that the tests of clouds share."""

from __future__ import annotations

FAKE = "fake"
REAL = "real"


def image_of(conn):
    """An image that servers are made from."""
    return next(
        s.image.id for s in conn.compute.servers(all_projects=True) if s.image and s.image.id
    )
