from __future__ import annotations

from uuid import uuid4

import pytest
import structlog

from trimtab_common.domain.lifecycle import AuditState, PlanState
from trimtab_common.domain.records import AuditTemplate
from trimtab_common.store import Query
from trimtab_decision import membership
from trimtab_decision.framework import Goal, Registry, Strategy
from trimtab_decision.goals import GOALS
from trimtab_decision.plugins import PLANNERS, load_registry
from trimtab_decision.syncer import Engine


def strategy(name, **members):
    class Made(Strategy):
        goal_name = "dummy"
        display_name = "Made"

        def do_execute(self, context, solution):
            raise NotImplementedError

    Made.name = name
    for key, value in members.items():
        setattr(Made, key, value)
    return Made


def registry_of(*strategies, goals=GOALS):
    return Registry(goals=goals, strategies=strategies, planners=PLANNERS)


async def names(store, resource):
    async with store.read() as session:
        return [row.name for row in await getattr(session, resource).list()]


async def rows(store, resource):
    async with store.read() as session:
        return await getattr(session, resource).list(Query(show_deleted=True))


@pytest.mark.req("A-037", "B-003", "B-001", "B-010")
async def test_the_first_sync_writes_goals_strategies_and_engines(world):
    registry = load_registry(entry_points=False)
    assert sorted(await names(world.store, "goals")) == sorted(registry.goals)
    assert sorted(await names(world.store, "strategies")) == sorted(registry.strategies)
    assert await names(world.store, "scoring_engines") == ["dummy_scorer"]
    async with world.store.read() as session:
        goal = await session.goals.get("server_consolidation")
    assert [set(one) for one in goal.efficacy_specification] == [
        {"name", "description", "unit", "schema"}
    ] * 3


@pytest.mark.req("A-037", "B-003")
async def test_a_second_sync_writes_nothing(world):
    before = [await rows(world.store, r) for r in ("goals", "strategies", "scoring_engines")]
    await world.clock.advance(100)
    assert await world.syncer().sync()
    after = [await rows(world.store, r) for r in ("goals", "strategies", "scoring_engines")]
    assert after == before


async def template(world, **fields):
    async with world.store.write() as session:
        return await session.audit_templates.create(
            AuditTemplate(uuid=str(uuid4()), name=str(uuid4()), **fields)
        )


async def made_of(world, name):
    """A template, a pending and an ended audit, a recommended and an ended plan of a strategy."""
    async with world.store.read() as session:
        row = await session.strategies.get(name)
    kept = await template(world, goal_id=row.goal_id, strategy_id=row.id)
    pending = await world.add_audit(strategy=name)
    ended = await world.add_audit(strategy=name, state=AuditState.SUCCEEDED)
    return row, kept, pending, ended


@pytest.mark.req("A-038", "B-004")
async def test_a_changed_strategy_gets_a_new_row_and_its_dependents_follow(world):
    await world.syncer(registry=registry_of(strategy("mine"))).sync()
    old, kept, pending, ended = await made_of(world, "mine")
    plan = await world.add_plan(PlanState.PENDING, audit=ended)
    changed = registry_of(strategy("mine", display_name="Other"), strategy("dummy"))
    await world.syncer(registry=changed).sync()
    async with world.store.read() as session:
        new = await session.strategies.get("mine")
        assert (new.display_name, new.uuid != old.uuid) == ("Other", True)
        assert (await session.audit_templates.get(kept.uuid)).strategy_id == new.id
        moved = await session.audits.get(pending.uuid)
        assert (moved.state, moved.strategy_id) == (AuditState.CANCELLED, new.id)
        finished = await session.audits.get(ended.uuid)
        assert (finished.state, finished.strategy_id) == (AuditState.SUCCEEDED, new.id)
        assert (await session.action_plans.get(plan.uuid)).state is PlanState.CANCELLED
        assert [a.state for a in await session.actions.list_of_plan(plan.uuid)] == ["CANCELLED"]


@pytest.mark.req("A-038", "B-004")
async def test_a_removed_strategy_leaves_templates_their_goal_and_cancels_what_is_open(world):
    await world.syncer(registry=registry_of(strategy("mine"))).sync()
    old, kept, pending, ended = await made_of(world, "mine")
    await world.syncer(registry=registry_of(strategy("dummy"))).sync()
    assert await names(world.store, "strategies") == ["dummy"]
    async with world.store.read() as session:
        left = await session.audit_templates.get(kept.uuid)
        assert (left.goal_id, left.strategy_id) == (old.goal_id, None)
        assert (await session.audits.get(pending.uuid)).state is AuditState.CANCELLED
        assert (await session.audits.get(ended.uuid)).state is AuditState.SUCCEEDED


@pytest.mark.req("A-038", "B-004", "B-005")
async def test_a_removed_goal_cancels_its_audits_and_its_templates_are_reported(world):
    goal = Goal(name="passing", display_name="Passing")
    mine = strategy("mine", goal_name="passing")
    await world.syncer(registry=registry_of(mine, goals=[*GOALS, goal])).sync()
    async with world.store.read() as session:
        row = await session.goals.get("passing")
    kept = await template(world, goal_id=row.id)
    audit = await world.add_audit(goal="passing", strategy=None)
    with structlog.testing.capture_logs() as logs:
        await world.syncer(registry=registry_of()).sync()
    assert (await world.audit(audit.uuid)).state is AuditState.CANCELLED
    reported = [line for line in logs if line["log_level"] == "error"]
    assert [line["audit_template"] for line in reported] == [kept.name]
    assert "passing" not in await names(world.store, "goals")


@pytest.mark.req("A-038", "B-004")
async def test_a_changed_goal_keeps_its_strategies_and_moves_templates(world):
    async with world.store.read() as session:
        old = await session.goals.get("dummy")
        same = await session.strategies.get("dummy")
    kept = await template(world, goal_id=old.id)
    audit = await world.add_audit()
    goals = [g for g in GOALS if g.name != "dummy"] + [Goal(name="dummy", display_name="New")]
    dummy = load_registry(entry_points=False).strategies["dummy"]
    await world.syncer(registry=registry_of(dummy, goals=goals)).sync()
    async with world.store.read() as session:
        new = await session.goals.get("dummy")
        assert (new.id != old.id, new.display_name) == (True, "New")
        assert (await session.strategies.get("dummy")).uuid == same.uuid
        assert (await session.audit_templates.get(kept.uuid)).goal_id == new.id
    assert (await world.audit(audit.uuid)).state is AuditState.CANCELLED


async def test_nothing_is_removed_while_another_replica_is_alive(world):
    await membership.beat(world.store, "node-2")
    await world.syncer(registry=registry_of()).sync()
    assert "dummy" in await names(world.store, "strategies")
    await world.clock.advance(91)
    await world.syncer(registry=registry_of()).sync()
    assert await names(world.store, "strategies") == []


@pytest.mark.req("A-037")
async def test_a_scoring_service_that_does_not_answer_loses_no_engine(world):
    world.scoring.is_up = False
    await world.syncer().sync()
    assert await names(world.store, "scoring_engines") == ["dummy_scorer"]
    world.scoring.is_up = True
    world.scoring.known = [Engine(name="other", description="", metainfo="")]
    await world.syncer().sync()
    assert await names(world.store, "scoring_engines") == ["other"]


async def test_only_one_replica_syncs_at_a_time(world):
    async with world.store.write() as session:
        held = await session.leases.acquire(
            "syncer", "00000000-0000-0000-0000-000000000000", "other", 60
        )
    assert not await world.syncer().sync()
    async with world.store.write() as session:
        await session.leases.release(held)
    assert await world.syncer().sync()


class CountedWrites:
    """The store of a syncer, which says how many rows each transaction changed and may die."""

    def __init__(self, store, *, dies_after=None, before_each=None):
        self._store = store
        self._dies_after = dies_after
        self._before_each = before_each
        self.rows = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def transact(self, work):
        if self._dies_after is not None and len(self.rows) >= self._dies_after:
            raise RuntimeError("this process died")
        if self._before_each is not None:
            await self._before_each(len(self.rows))
        changed = 0

        async def counted(session):
            nonlocal changed
            execute = session.execute

            async def counting(statement, rows=None):
                nonlocal changed
                result = await execute(statement, rows)
                if statement.is_dml:
                    changed += len(rows) if rows else max(result.rowcount, 0)
                return result

            session.execute = counting
            return await work(session)

        result = await self._store.transact(counted)
        self.rows.append(changed)
        return result


async def a_crowd(world, number):
    await world.syncer(registry=registry_of(strategy("mine"))).sync()
    return [await world.add_audit(strategy="mine") for _ in range(number)]


def changed_registry():
    return registry_of(strategy("mine", display_name="Other"), strategy("dummy"))


async def strategies_of(world, audits):
    found = [await world.audit(audit.uuid) for audit in audits]
    return {(audit.state, audit.strategy_id) for audit in found}


@pytest.mark.req("A-038", "B-004")
async def test_many_dependents_follow_in_small_transactions(world):
    audits = await a_crowd(world, 80)
    syncer = world.syncer(registry=changed_registry())
    syncer._store = CountedWrites(world.store)
    assert await syncer.sync()
    async with world.store.read() as session:
        new = await session.strategies.get("mine")
    assert await strategies_of(world, audits) == {(AuditState.CANCELLED, new.id)}
    assert max(syncer._store.rows) <= 500
    assert sum(syncer._store.rows) > 160


@pytest.mark.req("A-038", "B-004")
async def test_a_sync_that_died_in_the_middle_is_finished_by_the_next(world):
    audits = await a_crowd(world, 60)
    syncer = world.syncer(registry=changed_registry())
    syncer._store = CountedWrites(world.store, dies_after=5)
    with pytest.raises(RuntimeError):
        await syncer.sync()
    assert len(await strategies_of(world, audits)) == 2
    await world.clock.advance(61)
    assert await world.syncer(registry=changed_registry()).sync()
    async with world.store.read() as session:
        new = await session.strategies.get("mine")
    assert await strategies_of(world, audits) == {(AuditState.CANCELLED, new.id)}


async def test_a_syncer_that_was_paused_and_overtaken_writes_nothing_more(world):
    audits = await a_crowd(world, 60)

    async def overtake(number):
        if number == 4:
            await world.clock.advance(61)
            async with world.store.write() as session:
                key = "00000000-0000-0000-0000-000000000000"
                assert await session.leases.acquire("syncer", key, "other", 60)

    syncer = world.syncer(registry=changed_registry())
    syncer._store = CountedWrites(world.store, before_each=overtake)
    assert not await syncer.sync()
    left = [await world.audit(audit.uuid) for audit in audits]
    assert {audit.state for audit in left} == {AuditState.CANCELLED, AuditState.PENDING}
