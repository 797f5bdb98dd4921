"""Before an audit is planned collector is asked to hold what its scope needs."""

from __future__ import annotations

import dataclasses
import json

import grpc
import pytest
from grpc import StatusCode

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_common.domain.errors import InvalidArgument
from trimtab_decision.collector_elements import CollectorElements
from trimtab_decision.collector_loads import CollectorLoads
from trimtab_decision.framework.errors import UnknownPlugin
from trimtab_decision.settings import DecisionSettings


class FakeModels(model_pb2_grpc.ModelServiceServicer):
    def __init__(self):
        self.asked = []
        self.refusal = None
        self.models = []

    async def LoadModel(self, request, context):  # noqa: N802, gRPC's name
        self.asked.append((request.kind, request.scope_json))
        if self.refusal is not None:
            await context.abort(self.refusal, "no such cloud")
        return model_pb2.LoadModelResponse(position=model_pb2.Position(epoch="e", revision=7))

    async def ListModels(self, request, context):  # noqa: ARG002, N802, gRPC's signature
        return model_pb2.ListModelsResponse(models=self.models)


@dataclasses.dataclass
class Model:
    epoch: str
    revision: int


class FakeReplica:
    def __init__(self, channel, model, *dead):
        self.sources = [model_pb2_grpc.ModelServiceStub(found) for found in (*dead, channel)]
        self.model = model
        self.waited = []

    async def wait_until(self, reached, timeout_s):
        self.waited.append(timeout_s)
        if not reached(self.model):
            raise TimeoutError


@pytest.fixture
async def collector():
    server = grpc.aio.server()
    models = FakeModels()
    model_pb2_grpc.add_ModelServiceServicer_to_server(models, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield models, channel
    await server.stop(None)


SCOPE = [{"compute": [{"availability_zones": [{"name": "z1"}]}]}]


@pytest.mark.req("C-045")
async def test_the_scope_is_loaded_and_the_replica_waited_for(collector):
    models, channel = collector
    replica = FakeReplica(channel, Model("e", 7))
    assert await CollectorLoads(replica)(SCOPE) == ""
    ((kind, scope),) = models.asked
    assert (kind, json.loads(scope)) == ("compute", SCOPE)
    assert replica.waited


@pytest.mark.parametrize(
    ("model", "is_there"),
    [(Model("e", 6), False), (Model("other", 1), True), (Model("e", 8), True)],
)
async def test_revisions_of_another_collector_are_not_compared(collector, model, is_there):
    _, channel = collector
    problem = await CollectorLoads(FakeReplica(channel, model))([])
    assert (problem == "") is is_there


@pytest.mark.req("C-119")
@pytest.mark.parametrize(("model", "is_there"), [(Model("e", 7), True), (Model("dead", 9), False)])
async def test_the_next_collector_loads_when_the_first_is_away_and_is_waited_for(
    collector, model, is_there
):
    models, channel = collector
    async with grpc.aio.insecure_channel("127.0.0.1:1") as dead:
        problem = await CollectorLoads(FakeReplica(channel, model, dead))(SCOPE)
    assert len(models.asked) == 1
    assert (problem == "") is is_there


async def test_an_audit_goes_on_with_what_is_held_and_says_so(collector):
    models, channel = collector
    models.refusal = StatusCode.UNAVAILABLE
    problem = await CollectorLoads(FakeReplica(channel, Model("e", 9)))([])
    assert "no such cloud" in problem
    assert "planned on what it holds" in problem


async def test_a_scope_that_is_none_fails_the_audit(collector):
    models, channel = collector
    models.refusal = StatusCode.INVALID_ARGUMENT
    with pytest.raises(InvalidArgument):
        await CollectorLoads(FakeReplica(channel, Model("e", 9)))(SCOPE)


@pytest.mark.req("A-109", "C-044")
async def test_an_audit_loads_before_it_is_planned_and_tells_its_problem(world):
    asked = []

    async def load(scope):
        asked.append(scope)
        return "Collector sleeps."

    recommender = dataclasses.replace(world.recommender(), load=load)
    audit = await world.add_audit(strategy="outlet_temperature", scope=SCOPE)
    found = await recommender.recommend(audit)
    assert asked == [SCOPE]
    assert found.messages[0] == "Collector sleeps."


@pytest.mark.req("A-041", "B-046")
async def test_models_that_are_not_there_say_why(collector):
    models, channel = collector
    read = model_pb2.ModelInfo(kind="storage")
    read.synced_at.GetCurrentTime()
    models.models = [read]
    problems = await CollectorElements(channel, timeout_s=5).problems()
    assert problems["storage"] == ""
    assert "collector_plugins" in problems["baremetal"]
    read.stale_reason = "Cinder is away"
    models.models = [read, model_pb2.ModelInfo(kind="baremetal")]
    problems = await CollectorElements(channel, timeout_s=5).problems()
    assert problems["storage"] == "Cinder is away"
    assert "was not read yet" in problems["baremetal"]


@pytest.mark.req("B-210")
async def test_an_operator_chooses_the_planner_of_a_strategy(world):
    audit = await world.add_audit(strategy="outlet_temperature")
    await world.recommender(planners={"outlet_temperature": "critical_path"}).recommend(audit)
    nobody = {"outlet_temperature": "nobody"}
    with pytest.raises(UnknownPlugin, match="nobody"):
        await world.recommender(planners=nobody).recommend(audit)
    with pytest.raises(UnknownPlugin, match="nobody"):
        DecisionSettings(planners=nobody).check_plugins(world.registry)
