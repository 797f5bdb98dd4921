"""Nova or Placement fail while the collector reads them: the stream stays up, the model says what it
is worth and why, counters tell, and nobody has to do anything afterwards.

The fault is a relay before the service that answers 503; the service itself goes on for others.
"""

from __future__ import annotations

import re
import time
from contextlib import ExitStack

import grpc
import httpx
import pytest
import yaml
from fresh_read import Comparison
from real_cloud import OURS, eventually
from relays import Relay
from subscriber import subscribed

from trimtab.model.v1 import model_pb2, model_pb2_grpc
from trimtab_cli import ports
from trimtab_cli.configuration import SystemSpec
from trimtab_cli.ports import METRICS_OFFSET
from trimtab_cli.system import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
NOVA, PLACEMENT = 8774, 8778
STALE_AFTER_S = 20.0
A_MINUTE_S = 60.0
SETTINGS = f"""\
[collector]
stale_after = {STALE_AFTER_S}
quiet_poll_interval = 3
api_query_max_retries = 1
refresh_interval = 0
"""


def compute_info(system):
    """What ListModels says of the compute model."""
    with grpc.insecure_channel(system.ports.address("collector")) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        models = stub.ListModels(model_pb2.ListModelsRequest(), timeout=10).models
    return next(model for model in models if model.kind == "compute")


@pytest.fixture(scope="module")
def relays():
    with ExitStack() as stack:
        made = {"nova": Relay(NOVA), "placement": Relay(PLACEMENT)}
        for relay in made.values():
            stack.callback(relay.close)
        yield made


@pytest.fixture
def system(cloud, clouds_yaml, relays, rabbitmq_url, tmp_path, monkeypatch):
    """Starts a Trimtab that reaches Nova and Placement through the relays."""
    del cloud
    entry = yaml.safe_load(clouds_yaml.read_text())["clouds"]["watcher"]
    entry["compute_endpoint_override"] = f"http://127.0.0.1:{relays['nova'].port}/v2.1"
    entry["placement_endpoint_override"] = f"http://127.0.0.1:{relays['placement'].port}"
    file = tmp_path / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"watcher": entry}}))
    spec = SystemSpec(
        state_dir=tmp_path,
        ports=ports.free_row(),
        cloud="watcher",
        rabbit_url=rabbitmq_url,
        extra_config=SETTINGS,
        ready_timeout_s=180,
    )
    with ExitStack() as stack:

        def start():
            with monkeypatch.context() as environment:
                environment.setenv("OS_CLIENT_CONFIG_FILE", str(file))
                started = stack.enter_context(running(spec, say=lambda _line: None))
            eventually(
                lambda: compute_info(started).HasField("synced_at"), "the model was built", 90, 0.2
            )
            return started

        yield start


@pytest.fixture
def health():
    """Partial, why stale, and the hosts of unknown capacity, as a snapshot says them."""

    def ask(system):
        with grpc.insecure_channel(system.ports.address("collector")) as channel:
            stub = model_pb2_grpc.ModelServiceStub(channel)
            begin = next(iter(stub.GetModel(model_pb2.GetModelRequest(), timeout=10))).begin
        return begin.partial, begin.stale_reason, list(begin.missing_hosts)

    return ask


def counted(system, name):
    """A counter of collector's /metrics."""
    url = f"http://127.0.0.1:{system.ports.grpc('collector') + METRICS_OFFSET}/metrics"
    found = re.search(rf"^{name} (\S+)$", httpx.get(url).text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def sizes(comparison):
    """What each host can take, in the live model."""
    return {
        row.hostname: (row.inventory, row.reserved, row.ratio) for row in comparison.live().hosts()
    }


def refreshed(system):
    """A full read, now."""
    with grpc.insecure_channel(system.ports.address("collector")) as channel:
        stub = model_pb2_grpc.ModelServiceStub(channel)
        stub.Refresh(model_pb2.RefreshRequest(), timeout=90)


@pytest.mark.req("C-042")
@pytest.mark.parametrize("of", ["all hosts", "one host"])
def test_while_placement_fails_at_the_start_the_model_is_partial_and_mends_itself(
    cloud, relays, system, health, note, of
):
    cloud.enable_all()
    hosts = sorted(cloud.services())
    which = {row["name"]: row["uuid"] for row in _providers(cloud)}
    pattern = f"{which[hosts[0]]}/inventories" if of == "one host" else "/inventories"
    wanted = hosts[:1] if of == "one host" else hosts
    with relays["placement"].saying_503(pattern):
        started = system()
        eventually(lambda: health(started)[2] == wanted, "the model says who is missing", 60, 0.5)
        partial, stale, missing = health(started)
        note(f"Placement 503 for {of}", (partial, stale, missing))
        assert partial
        assert not stale
        assert relays["placement"].refused
    began = time.monotonic()
    eventually(lambda: health(started) == (False, "", []), "the model is whole", 60, 0.5)
    note("whole again after s", round(time.monotonic() - began, 1))
    waited = Comparison(started, lambda: cloud.connection.auth_token).await_equal(30)
    note("0 differences after s", round(waited, 1))


@pytest.mark.req("C-042", "C-009")
def test_while_placement_fails_later_what_is_known_of_capacities_stays(
    cloud, relays, system, health, note
):
    cloud.enable_all()
    started = system()
    eventually(lambda: health(started) == (False, "", []), "the model is whole", 60, 0.5)
    comparison = Comparison(started, lambda: cloud.connection.auth_token)
    comparison.await_equal(30)
    known = sizes(comparison)
    with relays["placement"].saying_503():
        refreshed(started)
        assert relays["placement"].refused
        partial, _, missing = health(started)
        note("Placement 503 at a later read", (partial, missing))
        assert partial
        assert missing == sorted(cloud.services())
        assert sizes(comparison) == known
    eventually(lambda: health(started) == (False, "", []), "the model is whole again", 60, 0.5)
    comparison.await_equal(30)


@pytest.mark.req("C-009", "C-117")
def test_while_nova_says_503_for_a_minute_the_stream_stays_up_and_the_model_says_stale(
    cloud, relays, system, note, rabbitmq_url
):
    cloud.enable_all()
    started = system()
    server = cloud.active(cloud.create(f"{OURS}in-a-fault", flavor="m1.tiny"))
    comparison = Comparison(started, lambda: cloud.connection.auth_token)
    comparison.await_equal(60)
    with subscribed(started, rabbitmq_url) as subscriber:
        before = counted(started, "trimtab_model_failed_reads_total")
        snapshots = dict(subscriber.snapshots)
        with relays["nova"].saying_503():
            began = time.monotonic()
            eventually(lambda: compute_info(started).stale_reason, "the model is stale", 90, 0.5)
            note("called stale after s", round(time.monotonic() - began, 1))
            reason = compute_info(started).stale_reason
            note("why", reason)
            assert "503" in reason
            cloud.act(server.uuid, pause=None)  # by a way of its own: Nova works, for others
            paused = "SERVER_STATE_PAUSED"
            eventually(lambda: cloud.server(server.uuid).status == "PAUSED", "it is paused", 60)
            shown = time.monotonic()
            eventually(
                lambda: subscriber.state_of(server.uuid) == paused, "notifications go on", 10
            )
            note("a notification meanwhile, seen after s", round(time.monotonic() - shown, 2))
            eventually(lambda: time.monotonic() - began > A_MINUTE_S, "a minute is over", 90, 1.0)
            failed = counted(started, "trimtab_model_failed_reads_total") - before
            note("reads that failed, by the counter", failed)
            assert failed >= 2
            assert compute_info(started).stale_reason
        over = time.monotonic()
        eventually(
            lambda: not compute_info(started).stale_reason, "the model is good again", 60, 0.2
        )
        note("good again after s", round(time.monotonic() - over, 1))
        comparison.await_equal(30)
        assert dict(subscriber.snapshots) == snapshots, "the stream was broken"
        subscriber.await_digest("compute", lambda: comparison.live().digest())
        note("deltas by cause", dict(subscriber.causes))
    cloud.delete(server.uuid)


def _providers(cloud):
    return cloud.placement.get("/resource_providers").json()["resource_providers"]
