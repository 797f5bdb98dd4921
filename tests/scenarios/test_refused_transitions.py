"""Every state by every wanted state, through REST: the few that clients may ask for, and no other.

The rules are those of requirements A §5, written out here, not taken from `domain/lifecycle.py`.
"""

from __future__ import annotations

import itertools
import json

import pytest
from rest_world import stable_uuid

from trimtab_api.rest import RestRequest

AUDITS = ["PENDING", "ONGOING", "SUCCEEDED", "FAILED", "CANCELLED", "SUSPENDED"]
PLANS = [
    *("RECOMMENDED", "PENDING", "ONGOING", "SUCCEEDED", "FAILED"),
    *("CANCELLING", "CANCELLED", "SUPERSEDED"),
]
ACTIONS = ["PENDING", "ONGOING", "SUCCEEDED", "FAILED", "CANCELLING", "CANCELLED", "SKIPPED"]
MAY = {
    "audits": {
        *(("PENDING", "ONGOING"), ("PENDING", "CANCELLED"), ("SUSPENDED", "ONGOING")),
        *(("ONGOING", to) for to in ("FAILED", "SUCCEEDED", "CANCELLED", "SUSPENDED")),
    },
    "action_plans": {
        *(("RECOMMENDED", "PENDING"), ("RECOMMENDED", "CANCELLED"), ("PENDING", "CANCELLED")),
        ("ONGOING", "CANCELLING"),
    },
    "actions": {("PENDING", "SKIPPED"), ("SKIPPED", "SKIPPED")},
}
MAY_DELETE = {
    "audits": {"SUCCEEDED", "FAILED", "CANCELLED", "SUSPENDED"},
    "action_plans": {"RECOMMENDED", "SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"},
    "actions": set(),
}
HEADERS = {"openstack-api-version": "infra-optim 1.6", "content-type": "application/json"}


async def send(world, method, plural, uuid, value=None):
    body = b""
    if value is not None:
        body = json.dumps([{"op": "replace", "path": "/state", "value": value}]).encode()
    return await world.api.handle(
        RestRequest(method=method, raw_path=f"/v1/{plural}/{uuid}", headers=HEADERS, body=body)
    )


async def state_of(world, plural, uuid):
    answer = await send(world, "GET", plural, uuid)
    return json.loads(answer.body)["state"] if answer.status == 200 else "gone"


async def check(world, plural, uuid, before, wanted):
    answer = await send(world, "PATCH", plural, uuid, wanted)
    may = (before, wanted) in MAY[plural]
    assert (answer.status in (200, 202)) is may, (plural, before, wanted, answer.status)
    after = wanted if may else before
    assert await state_of(world, plural, uuid) == after, (plural, before, wanted)
    if not may:
        assert answer.status in (400, 409)


@pytest.mark.req("A-058")
async def test_every_state_of_an_audit_by_every_wanted_one(make_world):
    pairs = list(itertools.product(AUDITS, [*AUDITS, "DELETED", "NONSENSE"]))
    given = {"audits": [{"name": f"{a} {b}", "state": a} for a, b in pairs]}
    async with make_world(given) as world:
        for before, wanted in pairs:
            uuid = stable_uuid(f"audit {before} {wanted}")
            await check(world, "audits", uuid, before, wanted)


@pytest.mark.req("A-063")
async def test_every_state_of_a_plan_by_every_wanted_one(make_world):
    pairs = list(itertools.product(PLANS, [*PLANS, "DELETED", "NONSENSE"]))
    given = {
        "audits": [{"name": "a", "state": "SUCCEEDED"}],
        "plans": [{"name": f"{a} {b}", "audit": "a", "state": a} for a, b in pairs],
    }
    async with make_world(given) as world:
        for before, wanted in pairs:
            uuid = stable_uuid(f"plan {before} {wanted}")
            await check(world, "action_plans", uuid, before, wanted)


@pytest.mark.req("A-066")
@pytest.mark.parametrize("plan", PLANS)
async def test_every_state_of_an_action_by_every_wanted_one(make_world, plan):
    pairs = list(itertools.product(ACTIONS, [*ACTIONS, "DELETED"]))
    given = {
        "audits": [{"name": "a", "state": "SUCCEEDED"}],
        "plans": [{"name": "p", "audit": "a", "state": plan, "actions": [one for one, _ in pairs]}],
    }
    async with make_world(given) as world:
        for number, (before, wanted) in enumerate(pairs):
            uuid = stable_uuid(f"p action {number}")
            if plan in ("RECOMMENDED", "PENDING"):
                await check(world, "actions", uuid, before, wanted)
            else:
                answer = await send(world, "PATCH", "actions", uuid, wanted)
                assert answer.status in (400, 409), (plan, before, wanted)
                assert await state_of(world, "actions", uuid) == before


async def test_what_is_under_way_cannot_be_deleted(make_world):
    given = {
        "audits": [{"name": one, "state": one} for one in AUDITS],
        "plans": [{"name": one, "audit": "FAILED", "state": one} for one in PLANS],
    }
    async with make_world(given) as world:
        cases = [("action_plans", "plan", one) for one in PLANS]
        cases += [("audits", "audit", one) for one in AUDITS]
        for plural, noun, before in cases:
            uuid = stable_uuid(f"{noun} {before}")
            answer = await send(world, "DELETE", plural, uuid)
            may = before in MAY_DELETE[plural]
            assert (answer.status == 204) is may, (plural, before, answer.status)
            assert await state_of(world, plural, uuid) == ("gone" if may else before)
