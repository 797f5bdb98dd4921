"""Typed lists: filters, orders, pages and what a page costs; the same for every resource."""

from __future__ import annotations

import contextlib

import grpc
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from typed_world import refused, serving

from trimtab.audit.v1 import audit_pb2, audit_template_pb2
from trimtab.catalog.v1 import catalog_pb2
from trimtab.ops.v1 import ops_pb2
from trimtab.plan.v1 import plan_pb2
from trimtab_api.typed import filters
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import ACTIONS, AUDITS, SERVICES

STATES = ("PENDING", "ONGOING", "SUCCEEDED", "FAILED", "CANCELLED", "SUCCEEDED", "PENDING")
GIVEN = {
    "audits": [
        {
            "name": f"audit-{n}",
            "state": state,
            "goal": "dummy" if n % 3 else "server_consolidation",
            "strategy": "dummy" if n % 3 else "basic",
        }
        for n, state in enumerate(STATES)
    ],
    "plans": [
        {
            "name": f"p{n}",
            "audit": f"audit-{n % 7}",
            "actions": ["PENDING", "PENDING"],
            "indicators": [{"name": "i", "description": "d", "unit": "%", "value": 1.0}],
        }
        for n in range(9)
    ],
}


@pytest.fixture
async def typed(make_world):
    async with make_world(GIVEN) as world, serving(world) as stubs:
        yield stubs


async def names(typed, **fields) -> list[str]:
    found, request = [], audit_pb2.ListAuditsRequest(**fields)
    while True:
        page = await typed.audits.ListAudits(request, timeout=10)
        found += [audit.name.removeprefix("audit-") for audit in page.audits]
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


@pytest.mark.req("A-129")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0123456"),
        ("state = ONGOING", "1"),
        ('state = "PENDING"', "06"),
        ("state = PENDING OR state = FAILED", "036"),
        ("goal = DUMMY AND state = PENDING OR state = ONGOING", "1"),
        ("state = PENDING OR state = ONGOING AND goal = server_consolidation", "06"),
        ("goal_name = dummy AND state != SUCCEEDED", "14"),
        ('name >= "audit-3" AND name < "audit-5"', "34"),
        ("auto_trigger = true", ""),
        ("interval = null AND force = false", "0123456"),
        ("next_run_at != null", ""),
        ('created_at >= "2026-03-01T08:00:00Z"', "0123456"),
        ('created_at > "2026-03-01T09:00:00+01:00"', ""),
        ("name=audit-2", "2"),
        ('name = "no \\" such"', ""),
    ],
)
async def test_a_filter_finds_what_it_says(typed, text, expected):
    assert await names(typed, filter=text) == list(expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = red", "is none of"),
        ("state", "no whole term"),
        ("state =", "no whole term"),
        ("state = A state = B", "AND or OR before"),
        ("state = A AND", "no whole term"),
        ("(state = A)", "without brackets"),
        ("state = A OR name = b", "only `=` terms of one field"),
        ("state = A AND state = B", "twice"),
        ("goal != dummy", "one = only"),
        ("auto_trigger = maybe", "true or false"),
        ("created_at > yesterday", "a time such as"),
        ("name > null", "use = or !="),
        ("x" * 2001, "2000 characters"),
        (" AND ".join(["name != a"] * 30), "more than 20 terms"),
        ('name = "open', "cannot be read"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_with_the_place(typed, text, words):
    code, details = await refused(
        typed.audits.ListAudits(audit_pb2.ListAuditsRequest(filter=text), timeout=10)
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert words in details


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60), st.sampled_from([AUDITS, ACTIONS, SERVICES]))
def test_any_filter_text_gives_filters_or_a_clear_refusal(text, resource):
    with contextlib.suppress(InvalidArgument):
        assert isinstance(filters.parse(resource, text), dict)


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("name desc", "6543210"),
        ("id desc", "6543210"),
        ("state", "4310625"),
        ("state desc", "5260134"),
        ("next_run_at", "0123456"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
async def test_pages_in_any_order_hold_each_audit_once(typed, order_by, expected, size):
    assert await names(typed, order_by=order_by, page_size=size) == list(expected)


@pytest.mark.parametrize("order_by", ["goal", "colour", "name up", "name desc id", "parameters"])
async def test_an_order_that_cannot_be_names_those_that_can(typed, order_by):
    call = typed.audits.ListAudits(audit_pb2.ListAuditsRequest(order_by=order_by), timeout=10)
    code, details = await refused(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "created_at" in details


async def test_a_page_token_belongs_to_its_list(typed):
    first = await typed.audits.ListAudits(audit_pb2.ListAuditsRequest(page_size=2), timeout=10)
    for other in (
        audit_pb2.ListAuditsRequest(page_token=first.next_page_token, filter="state = PENDING"),
        audit_pb2.ListAuditsRequest(page_token=first.next_page_token, order_by="name"),
        audit_pb2.ListAuditsRequest(page_token=first.next_page_token, goal="dummy"),
    ):
        code, details = await refused(typed.audits.ListAudits(other, timeout=10))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "another filter or order" in details


async def test_actions_of_all_plans_are_listed_by_a_dash(typed):
    request = plan_pb2.ListActionsRequest(
        action_plan="-", filter="action_type = sleep", order_by="created_at desc"
    )
    found = await typed.plans.ListActions(request, timeout=10)
    assert len(found.actions) == 9
    assert {one.description for one in found.actions} == {"Wait"}


async def test_work_is_what_waits_or_runs_in_pages(typed):
    async with typed.world.store.write() as session:
        plans = await session.action_plans.list()
        await session.execute(
            sa.text("UPDATE action_plans SET state = 'ONGOING', hostname = 'h' WHERE id = 1")
        )
    found, request = [], ops_pb2.ListWorkRequest(page_size=2)
    while True:
        page = await typed.ops.ListWork(request, timeout=10)
        found += [(item.kind, item.name, item.state, item.hostname) for item in page.items]
        request.page_token = page.next_page_token
        if not page.next_page_token:
            break
    assert found == [
        ("audit", "audit-0", "PENDING", ""),
        ("audit", "audit-1", "ONGOING", ""),
        ("audit", "audit-6", "PENDING", ""),
        ("action_plan", plans[0].audit_name, "ONGOING", "h"),
    ]


async def test_the_sync_status_counts_the_catalogue_and_ages_the_models(typed):
    status = await typed.ops.GetSyncStatus(ops_pb2.GetSyncStatusRequest(), timeout=10)
    assert (status.goals, status.strategies, status.scoring_engines) == (2, 3, 1)
    assert [(one.kind, one.servers) for one in status.models] == [("compute", 3)]
    assert status.collector_problem == ""
    typed.world.collector.is_down = True
    status = await typed.ops.GetSyncStatus(ops_pb2.GetSyncStatusRequest(), timeout=10)
    assert (list(status.models), status.goals) == ([], 2)
    assert "does not answer" in status.collector_problem


LISTS = {
    "goals": lambda s, **f: s.catalog.ListGoals(catalog_pb2.ListGoalsRequest(**f), timeout=10),
    "strategies": lambda s, **f: s.catalog.ListStrategies(
        catalog_pb2.ListStrategiesRequest(**f), timeout=10
    ),
    "scoring_engines": lambda s, **f: s.catalog.ListScoringEngines(
        catalog_pb2.ListScoringEnginesRequest(**f), timeout=10
    ),
    "audit_templates": lambda s, **f: s.templates.ListAuditTemplates(
        audit_template_pb2.ListAuditTemplatesRequest(**f), timeout=10
    ),
    "audits": lambda s, **f: s.audits.ListAudits(audit_pb2.ListAuditsRequest(**f), timeout=10),
    "action_plans": lambda s, **f: s.plans.ListActionPlans(
        plan_pb2.ListActionPlansRequest(**f), timeout=10
    ),
    "actions": lambda s, **f: s.plans.ListActions(
        plan_pb2.ListActionsRequest(action_plan="-", **f), timeout=10
    ),
    "services": lambda s, **f: s.ops.ListServices(ops_pb2.ListServicesRequest(**f), timeout=10),
    "work": lambda s, **f: s.ops.ListWork(ops_pb2.ListWorkRequest(page_size=f["page_size"])),
}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_costs_at_most_three_statements_whatever_its_length(typed, name):
    statements = []
    engine = typed.world.store._engine.sync_engine

    @sa.event.listens_for(engine, "before_cursor_execute")
    def count(_connection, _cursor, statement, *_):
        if not statement.startswith(("BEGIN", "PRAGMA")):
            statements.append(statement)

    costs = set()
    for size in (1, 2, 1000):
        order = (
            {}
            if name == "work"
            else {"order_by": "created_at desc" if name != "services" else "name"}
        )
        if name in ("strategies", "scoring_engines"):
            order = {"order_by": "name"}
        statements.clear()
        page = await LISTS[name](typed, page_size=size, **order)
        costs.add(len(statements))
        if page.next_page_token and name != "work":
            statements.clear()
            await LISTS[name](typed, page_size=size, page_token=page.next_page_token, **order)
            assert len(statements) <= 3, statements
    assert max(costs) <= 3, statements
    sa.event.remove(engine, "before_cursor_execute", count)
