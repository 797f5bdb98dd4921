"""Walking through lists while others insert and delete: nothing is lost, nothing comes twice.

Every page is asked for through every door, and each must answer with the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from rest_world import START, stable_uuid

from trimtab_api.rest import RestRequest
from trimtab_common.domain import records
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.resources import (
    ACTION_PLANS,
    ACTIONS,
    AUDIT_TEMPLATES,
    AUDITS,
    GOALS,
    SCORING_ENGINES,
    SERVICES,
    STORED,
    STRATEGIES,
    Resource,
)

N = 103
BUSY = 9
"""So many rows are there more and go again while somebody walks."""
GIVEN = {
    "audits": [{"name": "parent", "state": "SUCCEEDED"}],
    "plans": [{"name": "parent", "audit": "parent"}],
}


async def get(world, path):
    answer = await world.api.handle(RestRequest(method="GET", raw_path=path))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def when(number):
    """Ten at a time, so that there are ties."""
    return START + timedelta(seconds=number // 10)


def named(number):
    return f"a{(number * 37) % 1000:04d}"


async def make_goal(_session, number):
    return records.Goal(
        uuid="",
        name=named(number),
        display_name="g",
        efficacy_specification=[],
        created_at=when(number),
    )


async def make_strategy(session, number):
    goal = await session.goals.get("dummy")
    return records.Strategy(
        uuid="",
        name=named(number),
        display_name="s",
        goal_id=goal.id,
        parameters_spec={},
        created_at=when(number),
    )


async def make_template(session, number):
    goal = await session.goals.get("dummy")
    return records.AuditTemplate(
        uuid="", name=named(number), goal_id=goal.id, created_at=when(number)
    )


async def make_audit(session, number):
    goal = await session.goals.get("dummy")
    return records.Audit(
        uuid="",
        name=named(number),
        audit_type=AuditType.ONESHOT,
        state=AuditState.SUCCEEDED,
        goal_id=goal.id,
        created_at=when(number),
    )


async def make_plan(session, number):
    audit = await session.audits.get("parent")
    strategy = await session.strategies.get("dummy")
    return records.ActionPlan(
        uuid="", audit_id=audit.id, strategy_id=strategy.id, created_at=when(number)
    )


async def make_action(session, number):
    plan = await session.action_plans.get(stable_uuid("plan parent"))
    return records.Action(
        uuid="", action_plan_id=plan.id, action_type="nop", created_at=when(number)
    )


async def make_engine(_session, number):
    return records.ScoringEngine(
        uuid="", name=named(number), description="", metainfo="", created_at=when(number)
    )


MAKERS: dict[str, Callable[[Any, int], Awaitable[Any]]] = {
    GOALS.plural: make_goal,
    STRATEGIES.plural: make_strategy,
    AUDIT_TEMPLATES.plural: make_template,
    AUDITS.plural: make_audit,
    ACTION_PLANS.plural: make_plan,
    ACTIONS.plural: make_action,
    SCORING_ENGINES.plural: make_engine,
}
FILTERS = {
    STRATEGIES.plural: "&goal=DUMMY",
    AUDIT_TEMPLATES.plural: "&goal=dummy",
    AUDITS.plural: "&goal=dummy",
    ACTION_PLANS.plural: f"&audit_uuid={stable_uuid('audit parent')}",
    ACTIONS.plural: f"&action_plan_uuid={stable_uuid('plan parent')}",
}


async def add(session, resource: Resource, number: int) -> str:
    """One row more; gives what its link says."""
    if resource is SERVICES:
        return str((await session.services.beat("watcher-applier", f"host-{number}")).id)
    made = await session.table(resource).create(await MAKERS[resource.plural](session, number))
    return str(made.uuid)


@dataclass
class Walker:
    """Goes through a list page by page, through all doors at once."""

    world: Any
    doors: dict[str, Any]
    resource: Resource

    async def page(self, path: str) -> dict[str, Any]:
        answers = {name: await door.ask("GET", path, (), b"") for name, door in self.doors.items()}
        bodies = {name: answer.body for name, answer in answers.items()}
        assert {answer.status for answer in answers.values()} == {200}, bodies
        assert len(set(bodies.values())) == 1, bodies
        found: dict[str, Any] = json.loads(bodies.popitem()[1])
        return found

    async def walk(self, path: str | None, between: Any = None) -> list[str]:
        """All idents in the order of the pages. `between` runs after each page with its last."""
        found: list[str] = []
        while path is not None:
            page = await self.page(path)
            found += [str(one.get("uuid", one.get("id"))) for one in page[self.resource.plural]]
            path = None
            if "next" in page:
                url = urlsplit(page["next"])
                path = f"{url.path}?{url.query}"
                if between:
                    await between(found[-1])
        return found


@dataclass
class Others:
    """Insert a row after each page, and now and then delete the one that the next page follows."""

    world: Any
    resource: Resource
    mine: frozenset[str]
    gone: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    number: int = 0

    async def __call__(self, last: str) -> None:
        if self.number >= BUSY:
            return
        self.number += 1
        async with self.world.store.write() as session:
            self.new.append(await add(session, self.resource, 500 + self.number))
            if self.number % 3 == 0 and last in self.mine:
                await session.table(self.resource).soft_delete(last)
                self.gone.append(last)

    async def tidy(self) -> None:
        async with self.world.store.write() as session:
            for ident in self.new:
                await session.table(self.resource).soft_delete(ident)


@asynccontextmanager
async def walker(make_world, all_doors, resource, edge=None):
    async with make_world(GIVEN, max_limit=1000) as world, AsyncExitStack() as stack:
        doors = {
            name: await stack.enter_async_context(open_door(world))
            for name, open_door in all_doors.items()
        }
        if edge is not None:
            edge.use(world.api)
            doors["envoy"] = edge.door
        async with world.store.write() as session:
            for number in range(N):
                await add(session, resource, number)
        yield Walker(world, doors, resource)


async def check_walks(one: Walker, path: str, query: str) -> None:
    expected = await one.walk(f"{path}?{query}&limit=1000")
    assert len(expected) >= N
    for size in (1, 7, 100):
        others = Others(one.world, one.resource, frozenset(expected))
        found = await one.walk(f"{path}?{query}&limit={size}", others)
        assert others.number == min(BUSY, len(expected) // size), "nobody was busy"
        assert bool(others.gone) == (others.number >= 3), "no marker was deleted"
        assert len(found) == len(set(found)), "a row came twice"
        known = set(expected)
        assert [ident for ident in found if ident in known] == expected
        assert set(found) - known <= set(others.new)
        expected = [ident for ident in expected if ident not in others.gone]
        await others.tidy()


@pytest.mark.req("A-024", "A-025", "A-027", "A-028")
@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", ["id", "uuid", "name", "created_at"])
async def test_pages_of_every_size_together_are_the_whole_list_though_rows_come_and_go(
    make_world, all_doors, sort_key, sort_dir
):
    async with walker(make_world, all_doors, AUDITS) as one:
        await check_walks(one, "/v1/audits", f"sort_key={sort_key}&sort_dir={sort_dir}")


@pytest.mark.req("A-024", "A-025", "A-027", "A-028")
@pytest.mark.parametrize("resource", STORED, ids=lambda one: one.plural)
async def test_so_are_those_of_every_resource_with_a_filter(make_world, all_doors, resource):
    async with walker(make_world, all_doors, resource) as one:
        query = "sort_key=created_at&sort_dir=desc" + FILTERS.get(resource.plural, "")
        await check_walks(one, f"/v1/{resource.plural}/detail", query)


@pytest.mark.timeout(120)
@pytest.mark.req("A-024", "A-027")
async def test_so_are_those_that_envoy_gives(make_world, all_doors, edge):
    async with walker(make_world, {"asgi": all_doors["asgi"]}, AUDITS, edge) as one:
        await check_walks(one, "/v1/audits/detail", "sort_key=created_at&sort_dir=desc&goal=dummy")


@pytest.mark.parametrize("number", [1, 30])
@pytest.mark.parametrize("resource", STORED, ids=lambda one: one.plural)
@pytest.mark.parametrize("detail", ["", "/detail"])
async def test_a_list_costs_at_most_three_statements_whatever_its_length(
    make_world, resource, number, detail
):
    plans = [{"name": f"p{n}", "audit": "a", "actions": ["PENDING"]} for n in range(number)]
    for plan in plans:
        plan["indicators"] = [{"name": "i", "description": "", "unit": "", "value": 1.0}]
    given = {"audits": [{"name": "a"}, {"name": "b"}], "plans": plans}
    async with make_world(given) as world:
        path = f"/v1/{resource.plural}{detail}"
        page = await get(world, f"{path}?limit=1&sort_key=created_at")
        one = page[resource.plural][0] if page[resource.plural] else None
        statements = []

        def note(_connection, _cursor, statement, *_rest):
            statements.append(statement)

        engine = world.store._engine.sync_engine
        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            await get(world, path)
            assert len([s for s in statements if s.startswith("SELECT")]) <= 3
            if one is not None:
                statements.clear()
                marker = one.get("uuid", one.get("id"))
                await get(world, f"{path}?limit=100&sort_key=created_at&marker={marker}")
                assert len([s for s in statements if s.startswith("SELECT")]) <= 3
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)
