"""What api asks of collector and decision, over real gRPC servers."""

import grpc
import grpc.aio
import pytest

from trimtab.decision.v1 import decision_pb2, decision_pb2_grpc
from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_api import data_model, remote
from trimtab_api.remote import CollectorModels, DecisionStates
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.errors import NotFound, StaleModel, Unavailable
from trimtab_common.runtime.errors import ErrorInterceptor
from trimtab_common.wire import snapshot_codec


class Collector(model_pb2_grpc.ModelServiceServicer):
    def __init__(self):
        self.model = ComputeModel(epoch="e")
        self.problem = None
        self.is_cut_short = False
        self.holds = ["compute"]
        self.asked = 0
        self.now = 0.0

    async def GetModel(self, request, context):  # noqa: ARG002, N802, named by the proto
        if self.problem is not None:
            raise self.problem
        snapshot = self.model.snapshot()
        yield model_pb2.GetModelResponse(begin=snapshot_codec.begin_message(snapshot, "requested"))
        for chunk in snapshot_codec.chunk_messages(snapshot):
            yield model_pb2.GetModelResponse(compute=chunk)
        if not self.is_cut_short:
            end = model_pb2.SnapshotEnd(position=snapshot_codec.position_of(snapshot))
            yield model_pb2.GetModelResponse(end=end)

    async def ListModels(self, request, context):  # noqa: ARG002, N802, named by the proto
        self.asked += 1
        if self.problem is not None:
            raise self.problem
        return model_pb2.ListModelsResponse(
            models=[
                model_pb2.ModelInfo(kind=kind, scope_schema_json='{"type": "array"}')
                for kind in self.holds
            ]
        )


class Decision(decision_pb2_grpc.DecisionServiceServicer):
    async def GetStrategyState(self, request, context):  # noqa: ARG002, N802, named by the proto
        if request.strategy != "dummy":
            raise NotFound(f"Strategy {request.strategy} could not be found.")
        row = decision_pb2.Requirement(
            type="Metrics", state_json='[{"host_cpu_usage": "available"}]', comment="c"
        )
        return decision_pb2.GetStrategyStateResponse(requirements=[row])


@pytest.fixture
async def back_ends():
    collector = Collector()
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    model_pb2_grpc.add_ModelServiceServicer_to_server(collector, server)
    decision_pb2_grpc.add_DecisionServiceServicer_to_server(Decision(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        collector.client = CollectorModels(channel, monotonic=lambda: collector.now)
        collector.states = DecisionStates(channel)
        yield collector
    await server.stop(0)


@pytest.mark.req("A-070")
async def test_an_empty_model_has_no_rows_and_no_model_is_none(back_ends):
    snapshot = await back_ends.client.compute()
    assert snapshot is not None
    assert data_model.body(snapshot, with_extended=True) == b'{"context":[]}'
    back_ends.problem = StaleModel("The model was never built.")
    assert await back_ends.client.compute() is None


@pytest.mark.req("A-013")
async def test_a_collector_that_breaks_off_or_is_down_is_unavailable(back_ends):
    back_ends.is_cut_short = True
    with pytest.raises(Unavailable, match="before it was whole"):
        await back_ends.client.compute()
    async with grpc.aio.insecure_channel("127.0.0.1:1") as nowhere:
        with pytest.raises(Unavailable, match=r"trimtab-collector.*\[trimtab\]collector"):
            await CollectorModels(nowhere).compute()
        with pytest.raises(Unavailable, match="trimtab-decision"):
            await DecisionStates(nowhere).state_of("dummy")


@pytest.mark.req("A-041")
async def test_the_state_of_a_strategy_comes_from_decision(back_ends):
    (row,) = await back_ends.states.state_of("dummy")
    assert (row.type, row.state, row.mandatory) == (
        "Metrics",
        [{"host_cpu_usage": "available"}],
        False,
    )
    with pytest.raises(NotFound, match="Strategy other could not be found"):
        await back_ends.states.state_of("other")


@pytest.mark.req("C-086")
async def test_the_schemas_of_scopes_are_those_of_the_models_that_collector_holds(back_ends):
    compute = {"compute": {"type": "array"}}
    assert await back_ends.client.scope_schemas() == compute
    back_ends.holds.append("storage")
    back_ends.now = remote.SCHEMAS_KEPT_S - 1
    assert await back_ends.client.scope_schemas() == compute
    assert back_ends.asked == 1
    back_ends.now = remote.SCHEMAS_KEPT_S
    both = {**compute, "storage": {"type": "array"}}
    assert await back_ends.client.scope_schemas() == both
    back_ends.now = 2 * remote.SCHEMAS_KEPT_S
    back_ends.problem = Unavailable("The collector service does not answer.")
    assert await back_ends.client.scope_schemas() == both
    assert await back_ends.client.scope_schemas() == both
    assert back_ends.asked == 3
    back_ends.problem = None
    back_ends.holds.remove("storage")
    back_ends.now += remote.SCHEMAS_RETRY_S
    assert await back_ends.client.scope_schemas() == compute
