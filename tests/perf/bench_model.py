"""Rows of the bench that need no other process: model, snapshot, strategies, planner and store."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench_clouds import cloud_rows, cluster_file, notifications
from synthetic_clouds import synthetic_cloud

from trimtab_api import data_model
from trimtab_api.rest import render
from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.live_model import Delta, LiveModel
from trimtab_collector.notifications.inbox import Inbox
from trimtab_common.domain.changes import UpsertHost, UpsertServer
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.lifecycle import AuditType
from trimtab_common.domain.records import ActionPlan, Audit, Goal, Strategy
from trimtab_common.domain.scope import scoped
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.store import migrate, open_store
from trimtab_decision.framework import ProposedAction
from trimtab_decision.planners.weight import WeightPlanner
from trimtab_decision.recommendation import as_records
from trimtab_decision.simulate import simulate


@dataclass(frozen=True)
class Figure:
    """One measured value, or the reason why there is none."""

    key: str
    value: float | None
    load: str = ""
    void: str = ""


def cpu_of(work, repeats=3):
    """(least CPU seconds of this process, the last result)."""
    best, result = float("inf"), None
    for _ in range(repeats):
        gc.collect()
        began = time.process_time()
        result = work()
        best = min(best, time.process_time() - began)
    return best, result


def built(n_hosts, n_servers, seed):
    """(live model, its hosts, its servers)."""
    hosts, servers = cloud_rows(n_hosts, n_servers, seed)
    live = LiveModel(SystemClock())
    live.model = ComputeModel.from_rows(hosts, servers, epoch="bench")
    live.mark_built()
    return live, hosts, servers


def notification_figures(limits):
    """Enveloped bytes to model and serialised delta, in batches as the consumer hands them over."""
    for row in limits:
        n_hosts, n_servers = row["hosts"], row["servers"]
        best, applied = 0.0, 0
        for seed in range(row["repeats"]):
            live, hosts, servers = built(n_hosts, n_servers, seed)
            inbox = Inbox(live, SystemClock())
            inbox.connected()
            bodies = list(notifications(hosts, servers, row["events"], seed))
            before = live.model.revision
            gc.collect()
            began = time.process_time()
            for at in range(0, len(bodies), 50):
                inbox.receive(bodies[at : at + 50])
            spent = time.process_time() - began
            applied = live.model.revision - before
            best = max(best, len(bodies) / spent)
        void = "" if applied >= row["min_applied"] else f"only {applied} of them changed the model"
        load = f"{row['events']} events, {applied} changes"
        yield Figure(row["key"], best, load, void)


def snapshot_figures():
    """At 1,000 hosts and 20,000 servers."""
    live, hosts, servers = built(1000, 20_000, 1)

    def changed_snapshot():
        number = changed_snapshot.number = getattr(changed_snapshot, "number", 0) + 1
        row = servers[number]
        live.publish(
            [
                Delta(
                    changes=[
                        UpsertServer(
                            type(row)(uuid=row.uuid, name="x", hostname="", demand=row.demand)
                        )
                    ],
                    cause="bench",
                )
            ]
        )
        began = time.process_time()
        snapshot = live.snapshot()
        return time.process_time() - began, snapshot

    spent = []
    for _ in range(7):
        gc.collect()
        one, snapshot = changed_snapshot()
        spent.append(one)
    yield Figure("snapshot", min(spent) * 1000, "after a change")
    names = [{"name": name} for name in snapshot.host_name[100:]]
    rules = [{"compute": [{"exclude": [{"compute_nodes": names}]}]}]
    best, cut = cpu_of(lambda: scoped(snapshot, rules))
    void = "" if cut.snapshot.n_hosts == 100 else "the scope kept other hosts"
    yield Figure("scope", best, "100 of 1,000 hosts", void)
    names_at = [host.hostname for host in hosts]
    count = 200_000

    def look_up():
        find = live.model.find_host
        for number in range(count):
            find(names_at[number % 1000])

    best, _ = cpu_of(look_up)
    yield Figure("host_by_name", best / count * 1e6, f"{count} look-ups")
    best, body = cpu_of(lambda: render.chunked(data_model.body(snapshot, with_extended=True)))
    size = sum(map(len, body))
    void = "" if size > 5_000_000 else "the list is too short"
    yield Figure("data_model_json", best, f"{size / 1e6:.1f} MB", void)
    hosts, servers = cloud_rows(100, 2_000, 1)
    changes = [*map(UpsertHost, hosts), *map(UpsertServer, servers)]
    best, _ = cpu_of(lambda: ComputeModel().apply(changes))
    yield Figure("apply_full", best * 1000, "100/2,000 rows into a model")


def strategy_figures(limits):
    """First and final solution of each compute strategy that there is, at 1,000/20,000."""
    cloud = synthetic_cloud(1000, 20_000, 5)
    for row in limits:
        report = None
        best = float("inf")
        for _ in range(row.get("repeats", 2)):  # the first one warms
            report = simulate(
                *cloud, row["goal"], row["strategy"], parameters=row.get("parameters")
            )
            best = min(best, report.cpu_s)
        void = "" if len(report.planned) >= row["min_actions"] else "it found nothing to do"
        void = void or (f"{len(report.violations)} violations" if report.violations else "")
        yield Figure(row["key"], best, f"{report.migrations} moves", void)


async def _planner(count):
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite+aiosqlite:///{folder}/t.db"
        await migrate.upgrade(url)
        store = await open_store(url)
        try:
            async with store.write() as session:
                goal = await session.goals.create(Goal(uuid=_id(1), name="g", display_name="G"))
                strategy = await session.strategies.create(
                    Strategy(uuid=_id(2), name="s", display_name="S", goal_id=goal.id)
                )
                audit = await session.audits.create(
                    Audit(
                        uuid=_id(3),
                        name="a",
                        audit_type=AuditType.ONESHOT,
                        goal_id=goal.id,
                        strategy_id=strategy.id,
                    )
                )
            actions = [
                ProposedAction(
                    action_type="migrate",
                    input_parameters={
                        "migration_type": "live",
                        "source_node": f"compute-{n % 97:05d}",
                        "destination_node": f"compute-{100 + n % 89:05d}",
                        "resource_id": _id(n),
                        "resource_name": f"vm-{n}",
                    },
                    resource_id=_id(n),
                    reason=f"compute-{n % 97:05d} is emptied",
                    facts={"host": f"compute-{n % 97:05d}", "state": "active"},
                )
                for n in range(count)
            ]
            spent = []
            for number in range(3):
                plan = ActionPlan(uuid=_id(10 + number), audit_id=audit.id, strategy_id=strategy.id)
                gc.collect()
                began = time.process_time()
                planned = WeightPlanner.from_options({}).plan(actions)
                await store.publish_plan(plan, await as_records(planned))
                spent.append(time.process_time() - began)
            return min(spent) / count * 1000
        finally:
            await store.close()


def planner_figures(count=5_000):
    """Ordering, uuids, rows and notifications of a plan, stored."""
    yield Figure("planner", asyncio.run(_planner(count)), f"{count} actions, SQLite")


def _id(number):
    return f"00000000-0000-4000-8000-{number:012d}"


@contextlib.contextmanager
def a_fakecloud(folder, *arguments, within_s=60.0):
    """The address of its clouds.yaml; the process is another, so that its work is not ours."""
    clouds = Path(folder) / "clouds.yaml"
    program = Path(sys.executable).parent / "trimtab-fakecloud"
    command = [str(program), "--port", "0", "--clouds-yaml", str(clouds), *arguments]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        child.stdout.readline()  # it answers now
        until = time.monotonic() + within_s
        while not clouds.exists() and time.monotonic() < until:
            time.sleep(0.05)
        yield clouds
    finally:
        child.terminate()
        child.wait(120)


class _Counting:
    """A CloudSession that counts requests, and how many are under way at once."""

    def __init__(self, session):
        self._session = session
        self.requests, self.now, self.most = [], 0, 0

    def __getattr__(self, name):
        return getattr(self._session, name)

    async def get(self, *arguments, **options):
        self.requests.append(arguments)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self._session.get(*arguments, **options)
        finally:
            self.now -= 1


def build_figures(n_hosts=100, n_servers=2_000):
    """The first read of a cloud, from a session that has logged in already."""
    import openstack

    async def read(clouds):
        config = openstack.config.OpenStackConfig(config_files=[str(clouds)])
        session = CloudSession(
            lambda: openstack.connection.Connection(config=config.get_one("watcher"))
        )
        spent, counting, model = [], None, None
        try:
            await ComputeReader(Nova(session), Placement(session)).read_all(ComputeModel())
            for _ in range(5):
                counting = _Counting(session)
                reader = ComputeReader(Nova(counting), Placement(counting))
                live = LiveModel(SystemClock())
                gc.collect()
                began = time.process_time()
                read = await reader.read_all(live.model)
                changes = live.model.changes_to(
                    read.hosts, read.servers, read.aggregates, read.health
                )
                live.publish([Delta(changes=changes, cause="sync")])
                live.mark_built()
                spent.append(time.process_time() - began)
                model = live.model
        finally:
            await session.close()
        return min(spent), counting, model

    with tempfile.TemporaryDirectory() as folder:
        contents = Path(folder) / "cluster.json"
        contents.write_text(json.dumps(cluster_file(n_hosts, n_servers, 1)))
        with a_fakecloud(folder, "--cluster", str(contents)) as clouds:
            best, counting, model = asyncio.run(read(clouds))
    load = f"{model.n_hosts} hosts, {model.n_servers} servers"
    void = "" if (model.n_hosts, model.n_servers) == (n_hosts, n_servers) else "not all was read"
    yield Figure("model_build", best, load, void)
    yield Figure(
        "model_build_requests", len(counting.requests) - n_hosts, "beside one a host", void
    )
    yield Figure("model_build_at_once", counting.most, "", void)


def receipt_figures(count=160_000):
    """The longest hold of decision's loop while a huge plan arrives and is cut for the store."""
    from trimtab_decision import parcel
    from trimtab_decision.framework import PlannedAction

    action = ProposedAction(
        action_type="migrate",
        input_parameters={"source_node": "a", "destination_node": "b", "resource_name": "vm"},
        reason="a is emptied",
        facts={"host": "a"},
    )
    planned = tuple(PlannedAction(index=n, action=action, parents=()) for n in range(count))
    messages = list(parcel.pack(planned))
    del planned
    gc.collect()
    gc.freeze()  # as a service does once it has started

    async def receive():
        longest, done = 0.0, False

        async def tick():
            nonlocal longest
            while not done:
                began = time.process_time()
                await asyncio.sleep(0.001)
                longest = max(longest, time.process_time() - began)

        ticking = asyncio.create_task(tick())
        waiting = iter(messages)
        got = await asyncio.to_thread(parcel.unpack_later, lambda: next(waiting))
        records = await as_records(got)
        for at in range(0, len(records), 250):
            assert records[at : at + 250]
            await asyncio.sleep(0)
        done = True
        await ticking
        return longest

    yield Figure(
        "plan_receipt", min(asyncio.run(receive()) for _ in range(2)) * 1000, f"{count} actions"
    )
