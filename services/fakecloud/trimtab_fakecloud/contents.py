"""Fills an empty cloud: from a cluster file if there is one, else by the generator."""

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.generator import generate


def fill(cloud: Cloud) -> None:
    """Give the cloud the contents that its spec asks for.

    Raises:
        ClusterFileError: they cannot be.
    """
    generate(cloud)
