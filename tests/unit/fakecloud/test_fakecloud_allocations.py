import pytest

from trimtab_fakecloud.allocations import Allocations
from trimtab_fakecloud.errors import BadRequest, NotAcceptable
from trimtab_fakecloud.hosts import Host, Inventory, inventories
from trimtab_fakecloud.rest.microversions import Microversions

WANTED = {"VCPU": 2, "MEMORY_MB": 1024}


def host(name):
    return Host(
        name=name,
        number=1,
        uuid=f"uuid-{name}",
        service_uuid="s",
        inventories=inventories(
            vcpus=Inventory(2, 0, 2.0), memory_mib=Inventory(4096, 1024), disk_gib=Inventory(10)
        ),
    )


def test_claims_count_until_they_are_released():
    book, one = Allocations(), host("one")
    book.claim("a", one, WANTED)
    book.claim("a", one, WANTED)
    assert dict(book.used(one.uuid)) == WANTED
    assert book.fits(one, WANTED)
    assert not book.fits(one, {"VCPU": 3})
    assert book.free(one, "MEMORY_MB") == 2048
    book.release("a")
    assert not any(book.used(one.uuid).values())
    assert not book.of_provider(one.uuid)


def test_moving_gives_all_that_is_held_to_the_heir_who_loses_the_rest():
    book, one, two = Allocations(), host("one"), host("two")
    book.claim("server", two, WANTED)
    book.claim("migration", one, WANTED)
    book.move("migration", "server")
    assert list(book.of_consumer("server")) == [one.uuid]
    assert not book.of_consumer("migration")
    assert not any(book.used(two.uuid).values())
    assert dict(book.used(one.uuid)) == WANTED


RANGE = Microversions("compute", (2, 1), (2, 96), "X-OpenStack-Nova-API-Version")


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({}, (2, 1)),
        ({"openstack-api-version": "compute 2.53"}, (2, 53)),
        ({"openstack-api-version": "placement 1.5, compute latest"}, (2, 96)),
        ({"openstack-api-version": "placement 1.5"}, (2, 1)),
        ({"X-OpenStack-Nova-API-Version": "2.10"}, (2, 10)),
    ],
)
def test_the_version_that_is_wanted(headers, version):
    assert RANGE.negotiate(headers) == version


@pytest.mark.parametrize(
    ("version", "error"), [("2.97", NotAcceptable), ("1.0", NotAcceptable), ("two", BadRequest)]
)
def test_versions_that_are_refused(version, error):
    with pytest.raises(error, match=version.replace(".", r"\.")):
        RANGE.negotiate({"openstack-api-version": f"compute {version}"})
