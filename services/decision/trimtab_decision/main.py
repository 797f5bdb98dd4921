"""Entry point of the decision service: wiring only. It holds no cloud credentials."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import grpc
import structlog

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab.decision.v1 import decision_pb2, decision_pb2_grpc
from trimtab_common.runtime import failpoints, identity
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.plugin_options import merged
from trimtab_common.runtime.service import CATALOGUE, Service, run
from trimtab_common.runtime.settings import CommonSettings, load
from trimtab_common.store import Store, open_store
from trimtab_common.wire.replica import ModelReplica
from trimtab_decision import membership, upkeep
from trimtab_decision.audits import AuditRunner
from trimtab_decision.claims import Claims
from trimtab_decision.collector_elements import CollectorElements
from trimtab_decision.collector_loads import CollectorLoads
from trimtab_decision.collector_metrics import CollectorMetrics
from trimtab_decision.continuous import ContinuousAudits
from trimtab_decision.framework import Registry
from trimtab_decision.left_behind import LeftBehind
from trimtab_decision.plugins import load_registry
from trimtab_decision.recommendation import Recommender
from trimtab_decision.rollback import Rollbacks
from trimtab_decision.scope_check import ScopeChecks
from trimtab_decision.scoring_client import RemoteScoringEngines
from trimtab_decision.servicer import DecisionServicer
from trimtab_decision.settings import DecisionSettings, groups, plugin_groups
from trimtab_decision.state import StrategyStates
from trimtab_decision.superseding import Superseding
from trimtab_decision.syncer import Syncer
from trimtab_decision.triggers import EventTriggers
from trimtab_decision.workers import Workers

NAME = "trimtab-decision"
_WAKE_TIMEOUT_S = 2.0

log = structlog.get_logger(__name__)


async def build(
    common: CommonSettings, settings: DecisionSettings, registry: Registry | None = None
) -> Service:
    """The service, not started: plug-ins loaded, workers warm, record open."""
    service = Service(NAME, common.decision, settings=common)
    clock = SystemClock()
    owner = identity.owner_name("decision", settings.host)
    registry = registry or load_registry()
    for group, name, error in registry.failures:
        log.error("plug-in left out", group=group, plugin=name, problem=error)
    settings.check_plugins(registry)
    store = await open_store(
        common.database, host=settings.host, notification_level=common.notification_level
    )
    service.on_stop(store.close)
    collectors = [open_channel(address) for address in common.collectors]
    collector = open_channel(*common.collectors) if len(collectors) > 1 else collectors[0]
    applier = open_channel(common.applier)
    scoring = open_channel(common.scoring)
    for channel in {*collectors, collector, applier, scoring}:
        service.on_stop(channel.close)
    workers = Workers(
        count=settings.max_audit_workers,
        timeout_s=settings.planning_timeout_s,
        scoring_address=common.scoring,
        scoring_timeout_s=settings.scoring_timeout_s,
    )
    service.on_stop(workers.close)
    await workers.start()
    replica = ModelReplica(collectors[0], others=collectors[1:])
    metrics = CollectorMetrics(collector, timeout_s=settings.metrics_timeout_s, clock=clock)
    elements = CollectorElements(collector, timeout_s=settings.metrics_timeout_s)
    runner = AuditRunner(
        store=store,
        claims=Claims(store=store, settings=settings, clock=clock, owner=owner),
        recommender=Recommender(
            store=store,
            registry=registry,
            thinker=workers,
            model=replica,
            metrics=metrics,
            settings=settings,
            elements=elements,
            load=CollectorLoads(replica),
        ),
        wake_plan=_waker(applier),
        clock=clock,
        settings=settings,
    )
    service.on_stop(runner.close)
    syncer = Syncer(
        store=store,
        registry=registry,
        scoring=RemoteScoringEngines(scoring),
        settings=settings,
        clock=clock,
        owner=owner,
    )
    continuous = ContinuousAudits(store=store, runner=runner, clock=clock, settings=settings)

    monitor = membership.Monitor(store, clock=clock, settings=settings)

    async def tidy() -> None:
        await syncer.sync()
        await service.report(CATALOGUE, serving=True)
        failpoints.reach("decision.tidy.before")
        await upkeep.expire_plans(store, settings=settings, clock=clock)
        await upkeep.remove_leftovers(store, clock=clock)

    triggers = EventTriggers(
        store=store,
        model=replica,
        metrics=metrics,
        wake=runner.wake,
        clock=clock,
        settings=settings,
        owner=owner,
    )
    scopes = ScopeChecks(store=store, model=replica, elements=elements)

    async def beat() -> None:
        await membership.beat(store, settings.host)
        await monitor.look()

    service.background(replica.run, "model")
    service.background(_every(clock, settings.heartbeat_interval_s, beat), "heartbeat")
    service.background(_every(clock, settings.check_periodic_interval_s, tidy), "tidy")
    service.background(
        _every(clock, settings.scoring_sync_interval_s, syncer.follow_engines), "engines"
    )
    service.background(runner.follow, "sweep")
    service.background(_every(clock, settings.scope_check_interval_s, scopes.check_all), "scopes")
    service.background(
        _every(clock, settings.continuous_audit_interval_s, continuous.look), "continuous"
    )
    service.background(_every(clock, settings.event_trigger_interval_s, triggers.look), "triggers")
    _supersede_plans(service, store, replica, clock, settings)
    service.add(
        DecisionServicer(
            runner=runner,
            states=StrategyStates(
                registry=registry, model=replica, metrics=metrics, elements=elements
            ),
            rollbacks=Rollbacks(
                store=store, clock=clock, period_s=settings.action_plan_rollback_period_s
            ),
            scopes=scopes,
            wake_plan=_waker(applier),
        ),
        decision_pb2_grpc.add_DecisionServiceServicer_to_server,
        decision_pb2.DESCRIPTOR.services_by_name["DecisionService"].full_name,
    )
    return service


def _supersede_plans(
    service: Service,
    store: Store,
    replica: ModelReplica,
    clock: Clock,
    settings: DecisionSettings,
) -> None:
    """What looks after recommended plans, as far as the operator wants it."""
    if settings.action_plan_check_interval_s:
        interval_s = settings.action_plan_check_interval_s
        left_behind = LeftBehind(store=store, model=replica, clock=clock, interval_s=interval_s)
        service.background(_every(clock, interval_s, left_behind.look), "left-behind")
    superseding = Superseding(
        store=store,
        model=replica,
        clock=clock,
        on_success=settings.supersede_on_success,
        on_change=settings.supersede_on_change,
    )
    if superseding.is_on:
        service.background(
            _every(clock, settings.sweep_interval_s, superseding.look), "superseding"
        )


def _every(
    clock: Clock, interval_s: float, work: Callable[[], Awaitable[object]]
) -> Callable[[], Coroutine[Any, Any, None]]:
    """A background task: the work at once, then after each interval."""

    async def repeat() -> None:
        while True:
            await work()
            await clock.sleep(interval_s)

    return repeat


def _waker(channel: grpc.aio.Channel) -> Callable[[str], Awaitable[None]]:
    """Tells applier about a plan; a lost wake-up costs two seconds, so it is only logged."""
    stub = applier_pb2_grpc.ApplierServiceStub(channel)

    async def wake(uuid: str) -> None:
        try:
            await stub.WakePlan(applier_pb2.WakePlanRequest(uuid=uuid), timeout=_WAKE_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            log.info("applier not woken, it will look by itself", problem=error.details())

    return wake


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until told to stop; the exit code."""
    registry = load_registry()
    names = tuple(registry.strategies)
    arguments = sys.argv[1:] if argv is None else argv
    plugins = plugin_groups(registry)
    common, conf = load(arguments, prog=NAME, groups=merged(groups(names), plugins))
    settings = DecisionSettings.from_conf(conf, host=common.host, strategies=names, plugins=plugins)
    return run(lambda: build(common, settings, registry), settings=common, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
