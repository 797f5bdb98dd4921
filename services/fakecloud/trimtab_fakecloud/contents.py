"""Fills an empty cloud: from a cluster file if there is one, else by the generator."""

from trimtab_fakecloud import cluster_file, generator
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.tokens import USERS


def fill(cloud: Cloud) -> None:
    """Give the cloud the contents that its spec asks for.

    Raises:
        ClusterFileError: they cannot be.
    """
    if cloud.spec.cluster_file is not None:
        cluster_file.load(cloud, cloud.spec.cluster_file)
    else:
        generator.generate(cloud)
    owner = USERS[2]
    cloud.storage.fill(cloud.spec.volumes, owner.project_id, owner.id)
