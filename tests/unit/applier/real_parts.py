"""The applier's real parts for tests: a store on SQLite, a Nova client on the emulated cloud."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import openstack

from trimtab_common.domain.lifecycle import Actor, AuditType, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Audit, Goal, Strategy
from trimtab_common.openstack.nova_writes import NovaClient
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.store import Store, open_store
from trimtab_fakecloud import FakeCloud


async def sqlite_store(path: Path) -> Store:
    return await open_store(f"sqlite+aiosqlite:///{path}", migrate=True, host="node-1")


def cloud_session(cloud: FakeCloud, user: str = "watcher") -> CloudSession:
    entry = cloud.entry(user)
    return CloudSession(
        lambda: openstack.connect(
            load_yaml_config=False, load_envvars=False, **_flat(entry), app_name="trimtab-test"
        ),
        retry=RetryPolicy(retries=2, interval_s=0.05),
    )


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    return {"auth": entry["auth"], "region_name": entry["region_name"]}


def nova_client(session: CloudSession) -> NovaClient:
    return NovaClient(session, write_timeout_s=4.0)


async def publish(
    store: Store,
    steps: list[tuple[str, dict[str, Any]]],
    parents: dict[int, list[int]] | None = None,
    *,
    state: PlanState = PlanState.PENDING,
) -> str:
    """Stores goal, strategy, audit and a plan of these steps; the plan's uuid."""
    async with store.write() as session:
        name = uuid4().hex
        goal = await session.goals.create(Goal(uuid=str(uuid4()), name=name, display_name=name))
        strategy = await session.strategies.create(
            Strategy(uuid=str(uuid4()), name=name, display_name=name, goal_id=goal.id)
        )
        audit = await session.audits.create(
            Audit(
                uuid=str(uuid4()),
                name=name,
                audit_type=AuditType.ONESHOT,
                goal_id=goal.id,
                strategy_id=strategy.id,
            )
        )
    uuids = [str(uuid4()) for _ in steps]
    plan = await store.publish_plan(
        ActionPlan(uuid=str(uuid4()), audit_id=audit.id, strategy_id=strategy.id),
        [
            Action(
                uuid=uuids[number],
                action_plan_id=0,
                action_type=kind,
                input_parameters=parameters,
                parents=tuple(uuids[parent] for parent in (parents or {}).get(number, [])),
            )
            for number, (kind, parameters) in enumerate(steps)
        ],
    )
    if state is PlanState.PENDING:
        await ask(store, plan.uuid, PlanState.PENDING)
    return plan.uuid


async def ask(store: Store, uuid: str, state: PlanState) -> None:
    """What the api does when a user starts or cancels a plan."""
    async with store.write() as session:
        await session.action_plans.transition(uuid, to=state, actor=Actor.API)


async def plan_of(store: Store, uuid: str) -> ActionPlan:
    async with store.read() as session:
        return await session.action_plans.get(uuid)


async def actions_of(store: Store, uuid: str) -> list[Action]:
    async with store.read() as session:
        return await session.actions.list_of_plan(uuid)


async def eventually(is_so: Callable[[], Any], limit_s: float = 60.0) -> None:
    """Waits until the awaited answer is true."""
    end = time.monotonic() + limit_s
    while not await is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {limit_s} s")
        await asyncio.sleep(0.02)
