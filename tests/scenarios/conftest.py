"""A whole api service in process over a real store, and the doors through which dialogues run.

Everything that would differ from run to run is fixed: the clock stands still unless a step moves
it, uuids and request ids count up. So two doors must give the same bytes.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import grpc.aio
import httpx
import numpy as np
import pytest
from google.api import httpbody_pb2

from trimtab.rest.v1 import rest_pb2, rest_pb2_grpc
from trimtab_api import asgi
from trimtab_api.auth import DefaultPolicy, Identity, NoAuth
from trimtab_api.ports import Deps, StrategyRequirement
from trimtab_api.rest import RestApi
from trimtab_api.rest.faults import MethodNotAllowed, RouteNotFound
from trimtab_api.rest.request import parse_target
from trimtab_api.rest.routes import find
from trimtab_api.servicer import WatcherRest
from trimtab_api.settings import ApiSettings
from trimtab_common.domain import records
from trimtab_common.domain.errors import Unauthenticated, Unavailable
from trimtab_common.domain.lifecycle import ActionState, AuditState, AuditType, PlanState
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.runtime.clock import FakeClock
from trimtab_common.runtime.errors import ErrorInterceptor
from trimtab_common.store import Store, open_store

AUTHORITY = "trimtab.test:9322"
START = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


@dataclass
class RecordingWaker:
    woken: list[tuple[str, str]] = field(default_factory=list)

    def wake_audit(self, uuid: str) -> None:
        self.woken.append(("audit", uuid))

    def wake_plan(self, uuid: str) -> None:
        self.woken.append(("plan", uuid))


class FakeDecision:
    """Knows one strategy; others make it fall silent."""

    async def state_of(self, strategy: str) -> list[StrategyRequirement]:
        if strategy != "dummy":
            raise Unavailable("The decision service does not answer. Check that it runs.")
        text = "Datasource is not presented for this strategy"
        models = [{"compute_model": "available"}]
        return [
            StrategyRequirement(type="Datasource", state=text, mandatory=True, comment=""),
            StrategyRequirement(type="CDM", state=models, mandatory=True, comment=""),
            StrategyRequirement(type="Name", state=strategy, mandatory=False, comment=""),
        ]


@dataclass
class FakeCollector:
    """Gives the model it holds, or does not answer."""

    model: ComputeSnapshot | None = None
    is_down: bool = False

    async def compute(self) -> ComputeSnapshot | None:
        if self.is_down:
            raise Unavailable("The collector service does not answer. Check that it runs.")
        return self.model


class TokenAuth:
    """Three tokens: admin, service, member."""

    async def identify(self, headers) -> Identity:
        token = headers.get("x-auth-token", "")
        if token not in ("admin", "service", "member"):
            raise Unauthenticated(
                "The request you have made requires authentication.",
                challenge='Keystone uri="http://keystone.test/v3"',
            )
        return Identity(user_id=token, roles=frozenset({token}))


@dataclass
class World:
    """One api service, its store and everything it talks to."""

    api: RestApi
    deps: Deps
    clock: FakeClock
    store: Store
    waker: RecordingWaker
    collector: FakeCollector
    authenticator: NoAuth | TokenAuth


def small_model() -> ComputeSnapshot:
    """Two hosts, the second first by uuid; two servers on one, one on no host."""
    uuids = sorted(stable_uuid(f"server-{n}") for n in range(3))
    return ComputeSnapshot(
        epoch="e",
        revision=1,
        taken_at=START,
        host_uuid=("22222222-0000-4000-8000-000000000000", "11111111-0000-4000-8000-000000000000"),
        host_name=("alpha", "beta"),
        host_inventory=np.array([[16, 65536, 500], [8, 32768, 250]], dtype=np.int64),
        host_reserved=np.array([[1, 512, 0], [0, 512, 10]], dtype=np.int64),
        host_ratio=np.array([[16.0, 1.5, 1.0], [4.0, 1.0, 1.0]]),
        host_up=np.array([True, False]),
        host_enabled=np.array([True, False]),
        host_disabled_reason=(None, "broken fan"),
        host_zone=np.array([0, 0], dtype=np.int32),
        server_uuid=np.array([list(uuid.UUID(u).bytes) for u in uuids], dtype=np.uint8),
        server_name=("web", "db", "lost"),
        server_host=np.array([0, 0, -1], dtype=np.int32),
        server_demand=np.array([[2, 4096, 20], [4, 8192, 40], [1, 512, 1]], dtype=np.int64),
        server_state=np.array([1, 5, 1], dtype=np.int8),
        server_locked=np.array([False, True, False]),
        server_excluded=np.array([False, False, False]),
        server_project=np.array([0, 0, 0], dtype=np.int32),
        projects=("p1",),
        zones=("nova",),
        server_metadata={0: {"optimize": "True"}},
        server_pinned_zone={0: "az1"},
        server_extra_specs={0: {"hw:cpu_policy": "dedicated"}},
    )


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory) -> Path:
    """A migrated SQLite file, made once and copied for every world."""
    path = Path(tmp_path_factory.mktemp("store")) / "empty.db"

    async def make() -> None:
        store = await open_store(f"sqlite+aiosqlite:///{path}", migrate=True)
        await store.close()

    asyncio.run(make())
    return path


WorldFactory = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def make_world(empty_database, tmp_path) -> WorldFactory:
    """Makes a world: `given` says what is in the record, `settings` how the service is set."""
    numbers = itertools.count()

    @asynccontextmanager
    async def make(given: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[World]:
        path = tmp_path / f"{next(numbers)}.db"
        shutil.copy(empty_database, path)
        clock = FakeClock(START)
        store = await open_store(f"sqlite+aiosqlite:///{path}", now=clock.now)
        ids, request_ids = itertools.count(1), itertools.count(1)
        waker, collector = RecordingWaker(), FakeCollector(model=small_model())
        deps = Deps(
            store=store,
            clock=clock,
            new_uuid=lambda: f"00000000-0000-4000-8000-{next(ids):012d}",
            waker=waker,
            strategy_states=FakeDecision(),
            models=collector,
            settings=ApiSettings(**settings),
        )
        authenticator = TokenAuth() if deps.settings.auth == "keystone" else NoAuth()
        api = RestApi(
            deps,
            authenticator=authenticator,
            policy=DefaultPolicy(),
            new_request_id=lambda: f"req-{next(request_ids):08d}",
        )
        world = World(
            api=api,
            deps=deps,
            clock=clock,
            store=store,
            waker=waker,
            collector=collector,
            authenticator=authenticator,
        )
        try:
            await fill(store, given or {})
            yield world
        finally:
            await store.close()

    return make


async def fill(store: Store, given: dict[str, Any]) -> None:
    """Puts goals and strategies into the record, then what the dialogue is given."""
    async with store.write() as s:
        goals = {}
        for name, shown in (("dummy", "Dummy goal"), ("server_consolidation", "Consolidation")):
            specification = [{"name": "released", "description": "d", "unit": "%", "schema": "{}"}]
            goals[name] = await s.goals.create(
                records.Goal(
                    uuid=stable_uuid(f"goal {name}"),
                    name=name,
                    display_name=shown,
                    efficacy_specification=specification,
                )
            )
        strategies = {}
        parameters_spec = {
            "properties": {
                "para1": {"type": "number", "default": 3.2, "minimum": 1.0, "maximum": 10.2},
                "para2": {"type": "string", "default": "hello"},
            }
        }
        for name, goal, spec in (
            ("dummy", "dummy", parameters_spec),
            ("dummy_bare", "dummy", {}),
            ("basic", "server_consolidation", {}),
        ):
            strategies[name] = await s.strategies.create(
                records.Strategy(
                    uuid=stable_uuid(f"strategy {name}"),
                    name=name,
                    display_name=f"{name} strategy",
                    goal_id=goals[goal].id,
                    parameters_spec=spec,
                )
            )
        await s.scoring_engines.create(
            records.ScoringEngine(
                uuid=stable_uuid("dummy_scorer"),
                name="dummy_scorer",
                description="Dummy scorer",
                metainfo="{}",
            )
        )
        await s.services.beat("watcher-applier", "alpha")
        await s.action_descriptions.sync({"nop": "Do nothing", "sleep": "Wait"})
        audits = {}
        for item in given.get("audits", ()):
            audits[item["name"]] = await s.audits.create(
                records.Audit(
                    uuid=stable_uuid(f"audit {item['name']}"),
                    name=item["name"],
                    audit_type=AuditType(item.get("audit_type", "ONESHOT")),
                    state=AuditState(item.get("state", "PENDING")),
                    goal_id=goals[item.get("goal", "dummy")].id,
                    strategy_id=strategies[item.get("strategy", "dummy")].id,
                    interval=item.get("interval"),
                    scope=item.get("scope", []),
                    next_run_time=START if item.get("is_scheduled") else None,
                )
            )
        for item in given.get("plans", ()):
            plan = await s.action_plans.create(
                records.ActionPlan(
                    uuid=stable_uuid(f"plan {item['name']}"),
                    audit_id=audits[item["audit"]].id,
                    strategy_id=strategies["dummy"].id,
                    state=PlanState(item.get("state", "RECOMMENDED")),
                    global_efficacy=item.get("global_efficacy", []),
                    efficacy_indicators=tuple(
                        records.EfficacyIndicator(
                            uuid=stable_uuid(f"{item['name']} {one['name']}"), **one
                        )
                        for one in item.get("indicators", ())
                    ),
                )
            )
            parents: tuple[str, ...] = ()
            for number, state in enumerate(item.get("actions", ())):
                action = await s.actions.create(
                    records.Action(
                        uuid=stable_uuid(f"{item['name']} action {number}"),
                        action_plan_id=plan.id,
                        action_type="sleep" if number % 2 else "nop",
                        state=ActionState(state),
                        input_parameters={"message": f"action {number}"},
                        parents=parents,
                    )
                )
                parents = (action.uuid,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back through a door. Header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Door(Protocol):
    """One way into the API."""

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer: ...


OWN_HEADERS = frozenset(
    {
        "allow",
        "content-type",
        "location",
        "retry-after",
        "vary",
        "www-authenticate",
        "x-openstack-request-id",
        "openstack-api-version",
        "openstack-api-minimum-version",
        "openstack-api-maximum-version",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-expose-headers",
        "access-control-max-age",
    }
)
"""What the API says; transports add their own (content-length, date, server)."""


class HttpDoor:
    """Plain HTTP: to the ASGI application in process, or to any base URL."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        url = httpx.URL(f"{self._client.base_url.scheme}://{self._client.base_url.netloc.decode()}")
        response = await self._client.request(
            method, url.copy_with(raw_path=path.encode()), headers=headers, content=body
        )
        return Answer(
            status=response.status_code,
            headers={k: v for k, v in response.headers.items() if k in OWN_HEADERS},
            body=response.content,
        )


class GrpcDoor:
    """A real gRPC server, asked as Envoy's transcoder would ask it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = rest_pb2_grpc.WatcherRestStub(channel)

    async def ask(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        request = rest_pb2.RestRequest(body=httpbody_pb2.HttpBody(data=body))
        metadata = [
            *((name.lower(), value) for name, value in headers.items()),
            ("x-envoy-original-path", path),
            ("x-envoy-original-method", method),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", AUTHORITY),
        ]
        rpc = self._rpc_of(method, path)
        call = getattr(self._stub, rpc)(request, metadata=metadata, timeout=20)
        messages = [message async for message in call] if rpc == "GetDataModel" else [await call]
        sent = dict(await call.initial_metadata())
        status = int(sent["x-http-code"])
        answered = {k: v for k, v in sent.items() if k in OWN_HEADERS}
        if status != 204:
            answered["content-type"] = messages[0].content_type
        return Answer(status=status, headers=answered, body=b"".join(m.data for m in messages))

    def _rpc_of(self, method: str, path: str) -> str:
        target = parse_target(path)
        if target.is_root:
            return "GetRoot" if method == "GET" else "Other"
        try:
            return find(method, target.segments)[0].rpc
        except (MethodNotAllowed, RouteNotFound):
            return "Other"


@asynccontextmanager
async def asgi_door(world: World) -> AsyncIterator[Door]:
    app = asgi.create_app(
        world.api,
        max_body_bytes=world.deps.settings.max_body_bytes,
        trust_forwarded_headers=False,
    )
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{AUTHORITY}") as client:
        yield HttpDoor(client)


@asynccontextmanager
async def rest_server(world: World) -> AsyncIterator[int]:
    """A gRPC server of this world on a free port."""
    server = grpc.aio.server(
        interceptors=[ErrorInterceptor()],
        options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)],
    )
    rest_pb2_grpc.add_WatcherRestServicer_to_server(WatcherRest(world.api), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@asynccontextmanager
async def grpc_door(world: World) -> AsyncIterator[Door]:
    async with (
        rest_server(world) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield GrpcDoor(channel)


DOORS: dict[str, Callable[[World], AbstractAsyncContextManager[Door]]] = {
    "asgi": asgi_door,
    "grpc": grpc_door,
}
"""Every way in; a further one (Envoy before `rest_server`, an HttpDoor to its URL) is one line."""


@pytest.fixture(params=sorted(DOORS))
def open_door(request) -> Callable[[World], AbstractAsyncContextManager[Door]]:
    return DOORS[request.param]


@pytest.fixture
def all_doors() -> dict[str, Callable[[World], AbstractAsyncContextManager[Door]]]:
    return DOORS
