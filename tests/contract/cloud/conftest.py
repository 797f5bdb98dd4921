"""A cloud under contract: tests speak to it through openstacksdk alone.

What asks only for `conn`, `login`, `eventually` and the fixtures made of them states how OpenStack
behaves: it runs against the fake cloud and, marked `cloud`, against the real one of the reference
folder. What asks for `cloud` or `spec`, or is marked `fake_only`, needs the fake's controls. On the
real cloud it works on servers of its own (`tt-...`), and hosts are enabled again after each test.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import openstack
import pytest
import yaml
from cloud_places import FAKE, REAL, image_of
from cloud_users import ROLES, entry_of, small_users
from real_cloud import OURS, RealCloud

from trimtab_fakecloud import CloudSpec, running_fakecloud

SPEC = CloudSpec(
    hosts=6,
    servers=24,
    seed=3,
    migration_s=0.05,
    resize_s=0.02,
    power_s=0.005,
    page_limit=1000,
)


HERE = Path(__file__).parent
REAL_USERS = {"admin": "devcloud", "watcher": "watcher"}
WAITS_S = {FAKE: 5, REAL: 60}
SLOW_ON_REAL = {"test_cloud_live_migration", "test_cloud_cold_migration"}


def pytest_generate_tests(metafunc):
    if "place" not in metafunc.fixturenames:
        return
    places = [FAKE]
    needs_the_fake = {"cloud", "spec"} & set(metafunc.fixturenames) or metafunc.cls
    if not needs_the_fake and not any(metafunc.definition.iter_markers("fake_only")):
        slow = (
            [pytest.mark.slow]
            if metafunc.module.__name__.rpartition(".")[2] in SLOW_ON_REAL
            else []
        )
        places.append(pytest.param(REAL, marks=[pytest.mark.cloud, *slow]))
    metafunc.parametrize("place", places, indirect=True)


def pytest_collection_modifyitems(items):
    # openstacksdk 4.22 warns of its own inner use of what it will remove
    warning = "openstack.warnings._RemovedInSDKWarning"
    quiet = pytest.mark.filterwarnings(f"ignore::{warning}")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(quiet)


class CloudThread:
    """Runs a fake cloud in a loop of its own, so that the synchronous SDK can speak to it."""

    def __init__(self, spec):
        self._spec = spec
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.cloud = None

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with running_fakecloud(self._spec) as self.cloud:
            self._ready.set()
            await self._stop.wait()


@pytest.fixture
def spec():
    """A test module or test may ask for another cloud."""
    return SPEC


@pytest.fixture
def cloud(spec):
    with CloudThread(spec) as running:
        yield running.cloud


@pytest.fixture
def place(request):
    """Which cloud the test speaks to: FAKE or REAL."""
    return request.param


@pytest.fixture
def entry(request, place):
    """A user's entry of clouds.yaml, changed where the test says so."""
    if place == FAKE:
        return request.getfixturevalue("cloud").entry
    clouds = request.getfixturevalue("real_clouds")

    def of(user):
        given = clouds[REAL_USERS.get(user, user)]
        return {"auth": dict(given["auth"]), "region_name": given["region_name"]}

    return of


@pytest.fixture(scope="session")
def real_clouds(reference):
    """Entries of clouds.yaml of the real cloud, with users like the fake one's small ones."""
    clouds = yaml.safe_load((reference / "cloud" / "clouds.yaml").read_text())["clouds"]
    admin = clouds["devcloud"]
    with (
        openstack.connection.Connection(
            auth=admin["auth"], region_name=admin["region_name"]
        ) as connection,
        small_users(connection),
    ):
        yield clouds | {role: entry_of(role, admin) for role in ROLES}


@pytest.fixture(scope="session")
def kept():
    """Connections to the real cloud, by user and version: to log in costs it half a second."""
    connections = {}
    yield connections
    for (user, _version), connection in connections.items():
        if user == "admin":
            RealCloud(connection).tidy()
        connection.close()


@pytest.fixture
def login(entry, place, kept):
    """Connects as one of the users, at a microversion."""
    connections = []

    def connect(user, version="2.96", **changes):
        if place == REAL and not changes:
            if (user, version) not in kept:
                kept[user, version] = new(user, version)
            return kept[user, version]
        connections.append(new(user, version, **changes))
        return connections[-1]

    def new(user, version, **changes):
        given = entry(user)
        given["auth"].update(changes)
        return openstack.connection.Connection(
            **given,
            compute_default_microversion=version,
            placement_default_microversion="1.39",
        )

    yield connect
    for connection in connections:
        connection.close()


@pytest.fixture
def conn(login, place):
    connection = login("admin")
    yield connection
    if place == REAL:
        RealCloud(connection).enable_all()


@pytest.fixture
def eventually(place):
    """Asks until the answer is true, for at most as long as such a cloud may take."""

    def ask(question):
        end = time.monotonic() + WAITS_S[place]
        while not (answer := question()):
            assert time.monotonic() < end, f"never came true: {question}"
            threading.Event().wait(0.01 if place == FAKE else 0.2)
        return answer

    return ask


@pytest.fixture
def active(conn, place):
    """An ACTIVE server."""
    if place == FAKE:
        return next(s for s in conn.compute.servers(all_projects=True) if s.status == "ACTIVE")
    return conn.compute.get_server(RealCloud(conn).pool(1)[0])


@pytest.fixture
def members_server(conn, login, place, eventually):
    """An ACTIVE server in the project of the user `member`."""
    compute = login("member").compute
    if place == FAKE:
        return next(s for s in compute.servers() if s.status == "ACTIVE")
    image, flavor = image_of(conn), next(f for f in conn.compute.flavors() if f.name == "m1.tiny")
    made = compute.create_server(
        name=f"{OURS}member", image_id=image, flavor_id=flavor.id, networks="none"
    )
    return eventually(
        lambda: (s := conn.compute.get_server(made.id)).status == "ACTIVE" and s,
    )


@pytest.fixture
def other_host(conn):
    """Gives another host with room, up and enabled, in any zone."""

    def choose(server):
        names = [
            h.name
            for h in conn.compute.hypervisors()
            if h.state == "up" and h.status == "enabled" and h.name != server.compute_host
        ]
        wanted = {"VCPU": server.flavor.vcpus, "MEMORY_MB": server.flavor.ram}
        wanted["DISK_GB"] = server.flavor.disk
        query = ",".join(f"{k}:{v}" for k, v in wanted.items())
        fitting = conn.placement.get(f"/resource_providers?resources={query}").json()
        return next(p["name"] for p in fitting["resource_providers"] if p["name"] in names)

    return choose


@pytest.fixture
def latest_migration(conn):
    def latest(server):
        return max(conn.compute.migrations(instance_uuid=server.id), key=lambda m: m.id)

    return latest


@pytest.fixture
def held(conn):
    """Host names to what a consumer holds there."""

    def of(consumer):
        body = conn.placement.get(f"/allocations/{consumer}").json()["allocations"]
        names = {p.id: p.name for p in conn.placement.resource_providers()}
        return {names[uuid]: a["resources"] for uuid, a in body.items()}

    return of
