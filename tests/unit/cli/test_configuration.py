"""The one configuration file that `trimtab up` writes for all services."""

from __future__ import annotations

import configparser

import pytest

from trimtab_cli import configuration, ports
from trimtab_cli.configuration import SystemSpec


def topics(tmp_path, **spec):
    """The exchanges and topics that the collector is told to read."""
    path = configuration.write(
        SystemSpec(state_dir=tmp_path, rabbit_url="rabbit://guest:guest@127.0.0.1:5672/", **spec)
    )
    file = configparser.ConfigParser()
    file.read(path)
    return file["watcher_decision_engine"]["notification_topics"].split(",")


@pytest.mark.req("C-049")
def test_before_a_real_cloud_nova_and_cinder_are_heard_wherever_cinder_sends(tmp_path):
    assert topics(tmp_path, cloud="watcher") == [
        "nova.versioned_notifications",
        "cinder.notifications",
        "openstack.notifications",
    ]


def test_a_fake_cloud_is_heard_in_an_exchange_of_its_own(tmp_path):
    row = ports.Ports(fakecloud=15123)
    assert topics(tmp_path, ports=row) == [
        "nova-fakecloud-15123.versioned_notifications",
        "nova-fakecloud-15123.notifications",
    ]
