"""Requests that race for one resource: the record lets exactly one win."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter

import pytest

from trimtab_api.rest import RestRequest

GIVEN = {
    "audits": [{"name": "a", "state": "SUCCEEDED"}],
    "plans": [{"name": "p", "audit": "a", "actions": ["PENDING"]}],
}
PLAN = f"/v1/action_plans/{uuid.uuid5(uuid.NAMESPACE_DNS, 'plan p')}"


async def statuses(world, *requests: RestRequest) -> Counter[int]:
    answers = await asyncio.gather(*(world.api.handle(request) for request in requests))
    return Counter(answer.status for answer in answers)


@pytest.mark.req("A-064")
async def test_a_plan_is_launched_once(make_world):
    async with make_world(GIVEN) as world:
        start = RestRequest(method="POST", raw_path=f"{PLAN}/start")
        assert await statuses(world, *[start] * 8) == {200: 1, 400: 7}
        assert len(world.waker.woken) == 1


@pytest.mark.req("A-055")
async def test_a_name_is_given_once(make_world):
    async with make_world() as world:
        body = b'{"name": "n", "audit_type": "ONESHOT", "goal": "dummy"}'
        create = RestRequest(method="POST", raw_path="/v1/audits", body=body)
        assert await statuses(world, *[create] * 8) == {201: 1, 409: 7}
        assert len(world.waker.woken) == 1


async def test_request_ids_of_racing_requests_differ(make_world):
    async with make_world() as world:
        answers = await asyncio.gather(
            *(world.api.handle(RestRequest(method="GET", raw_path="/v1/goals")) for _ in range(20))
        )
        assert len({answer.header("x-openstack-request-id") for answer in answers}) == 20


@pytest.mark.req("A-015")
async def test_an_unexpected_error_is_500_without_its_text(make_world):
    async with make_world() as world:

        class Broken:
            def now(self):
                raise RuntimeError("secret detail")

        object.__setattr__(world.deps, "clock", Broken())
        answer = await world.api.handle(RestRequest(method="GET", raw_path="/v1/services"))
        assert answer.status == 500
        assert b"secret detail" not in answer.body
        assert answer.header("x-openstack-request-id").encode() in answer.body
