"""Walking through lists while others insert and delete: nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from rest_world import START

from trimtab_api.rest import RestRequest
from trimtab_common.domain import records
from trimtab_common.domain.lifecycle import AuditState, AuditType
from trimtab_common.domain.resources import STORED

N = 103
BUSY = 9
"""So many rows are there more and go again while somebody walks."""


async def get(world, path):
    answer = await world.api.handle(RestRequest(method="GET", raw_path=path))
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def audit(number, goal_id, name=None):
    return records.Audit(
        uuid="",
        name=name or f"a{(number * 37) % 1000:04d}",
        audit_type=AuditType.ONESHOT,
        state=AuditState.SUCCEEDED,
        goal_id=goal_id,
        created_at=START + timedelta(seconds=number // 10),  # ten at a time: ties
    )


async def fill(world, number=N):
    async with world.store.write() as session:
        goal = await session.goals.get("dummy")
        made = [await session.audits.create(audit(n, goal.id)) for n in range(number)]
    return goal, made


async def walk(world, path, between=None):
    """All uuids in the order of the pages. `between` runs after each page with its last uuid."""
    found = []
    while path is not None:
        page = await get(world, path)
        found += [one["uuid"] for one in page["audits"]]
        path = None
        if "next" in page:
            url = urlsplit(page["next"])
            path = f"{url.path}?{url.query}"
            if between:
                await between(found[-1])
    return found


@pytest.mark.req("A-024", "A-027", "A-028")
@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", ["id", "uuid", "name", "created_at"])
async def test_pages_of_every_size_together_are_the_whole_list_though_rows_come_and_go(
    make_world, sort_key, sort_dir
):
    async with make_world(max_limit=1000) as world:
        goal, made = await fill(world)
        whole = [one.uuid for one in made]
        extra = [0]

        async def others_are_busy(last):
            """A row comes, another goes; and now and then the marker itself goes."""
            if extra[0] >= BUSY:
                return
            extra[0] += 1
            async with world.store.write() as session:
                new = await session.audits.create(audit(extra[0], goal.id, f"new-{extra[0]}"))
                gone.append(new.uuid)
                if extra[0] % 3 == 0 and last in whole:
                    await session.audits.soft_delete(last)
                    gone.append(last)

        order = f"sort_key={sort_key}&sort_dir={sort_dir}"
        expected = await walk(world, f"/v1/audits?{order}&limit=1000")
        assert sorted(expected) == sorted(whole)
        for size in (1, 7, 100):
            gone: list[str] = []
            extra[0] = 0
            found = await walk(world, f"/v1/audits?{order}&limit={size}", others_are_busy)
            assert len(found) == len(set(found)), "a row came twice"
            known = set(expected)
            assert [one for one in found if one in known] == expected
            assert set(found) - known <= set(gone)
            expected = [one for one in expected if one not in gone]
            async with world.store.write() as session:
                for uuid in set(gone) - known:
                    await session.audits.soft_delete(uuid)


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
