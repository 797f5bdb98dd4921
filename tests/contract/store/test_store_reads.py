from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from trimtab_common.domain.errors import AlreadyExists, InvalidArgument, NotFound
from trimtab_common.domain.lifecycle import Actor, AuditState, AuditType
from trimtab_common.domain.records import Audit, AuditTemplate, Goal
from trimtab_common.store import Query


async def test_what_is_stored_comes_back_equal_with_aware_times_to_the_microsecond(world):
    moment = world.clock.now() + timedelta(microseconds=123457)
    audit = await world.audit(
        name="Ünïcode:2026-01-01T00:00:00.1",
        parameters={"a": [1, 2.5, None, {"b": "ß🙂"}]},
        scope=[{"compute": []}],
        interval="*/5 * * * *",
        next_run_time=moment,
        start_time=moment,
        auto_trigger=True,
    )
    async with world.store.read() as session:
        again = await session.audits.get(audit.uuid)
    assert again == audit
    assert again.next_run_time == moment
    assert again.next_run_time.utcoffset() == timedelta(0)
    assert again.created_at == world.clock.now()
    assert (again.goal_name, again.strategy_uuid) == ("dummy", world.strategy.uuid)
    assert again.state is AuditState.PENDING
    assert again.audit_type is AuditType.ONESHOT


@pytest.mark.req("A-032")
async def test_a_resource_is_found_by_id_uuid_and_name_in_any_case(world):
    async with world.store.read() as session:
        goals = session.goals
        for ident in (world.goal.id, str(world.goal.id), world.goal.uuid, "dummy", "DUMMY"):
            assert await goals.get(ident) == world.goal
        for ident in (0, "99999999999999999999", "nothing", "00000000-0000-4000-8000-000000000000"):
            with pytest.raises(NotFound, match=f"Goal {ident} could not be found"):
                await goals.get(ident)


@pytest.mark.req("A-126")
async def test_a_name_is_unique_among_the_living_and_free_after_a_delete(world):
    store = world.store
    template = AuditTemplate(uuid="", name="night", goal_id=world.goal.id)
    async with store.write() as session:
        first = await session.audit_templates.create(template)
    assert first.uuid
    with pytest.raises(AlreadyExists, match="night already exists"):
        async with store.write() as session:
            await session.audit_templates.create(template)
    async with store.write() as session:
        await session.audit_templates.soft_delete(first.uuid)
    async with store.write() as session:
        second = await session.audit_templates.create(template)
    async with store.read() as session:
        assert await session.audit_templates.get("night") == second
        assert await session.audit_templates.list() == [second]
        both = await session.audit_templates.list(Query(show_deleted=True))
        assert [one.deleted_at is None for one in both] == [False, True]
        with pytest.raises(NotFound):
            await session.audit_templates.get(first.uuid)
        assert (await session.audit_templates.get(first.uuid, show_deleted=True)).id == first.id
        assert await session.audit_templates.get("night", show_deleted=True) == second


async def test_names_that_differ_in_case_are_two_and_the_exact_one_wins(world):
    await world.audit(name="A")
    small = await world.audit(name="a")
    async with world.store.read() as session:
        assert await session.audits.get("a") == small


@pytest.mark.req("A-129")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"state": AuditState.PENDING}, "abc"),
        ({"name__neq": "a"}, "bc"),
        ({"name__in": ["a", "c"]}, "ac"),
        ({"name__in": []}, ""),
        ({"name__notin": ["a", "c"]}, "b"),
        ({"name__gt": "a", "name__lte": "b"}, "b"),
        ({"created_at__lt": 2}, "ab"),
        ({"created_at__gte": 2}, "c"),
        ({"hostname": None}, "ac"),
        ({"hostname__neq": None}, "b"),
        ({"goal": "DUMMY"}, "abc"),
        ({"goal": "other"}, ""),
        ({"strategy_name": "dummy", "auto_trigger": True}, "c"),
    ],
)
async def test_filters_choose_rows(world, filters, expected):
    start = world.clock.now()
    for name, extra in (("a", {}), ("b", {"hostname": "h"}), ("c", {"auto_trigger": True})):
        await world.audit(name=name, **extra)
        await world.clock.advance(1)
    filters = {
        key: start + timedelta(seconds=value) if key.startswith("created") else value
        for key, value in filters.items()
    }
    async with world.store.read() as session:
        found = await session.audits.list(Query(filters=filters))
        assert await session.audits.count(Query(filters=filters)) == len(expected)
    assert [audit.name for audit in found] == list(expected)


@pytest.mark.parametrize("filters", [{"colour": "red"}, {"name__like": "x"}])
async def test_an_unknown_filter_or_operator_is_refused(world, filters):
    async with world.store.read() as session:
        with pytest.raises(InvalidArgument):
            await session.audits.list(Query(filters=filters))


@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", ["id", "name", "hostname", "next_run_time", "scope"])
async def test_pages_laid_end_to_end_are_the_whole_list_whatever_the_order(
    world, sort_key, sort_dir
):
    now = world.clock.now()
    for number in range(9):
        await world.audit(
            name=f"n{(number * 7) % 9}",
            hostname=None if number % 3 == 0 else f"h{number % 2}",
            next_run_time=None if number % 4 == 0 else now + timedelta(hours=number % 3),
            scope=[{"compute": [number % 2]}],
        )
    async with world.store.read() as session:
        whole = await session.audits.list(Query(sort_key=sort_key, sort_dir=sort_dir))
        paged: list[Audit] = []
        while True:
            marker = paged[-1].id if paged else None
            page = await session.audits.list(
                Query(limit=2, marker_id=marker, sort_key=sort_key, sort_dir=sort_dir)
            )
            paged += page
            if len(page) < 2:
                break
    assert [audit.id for audit in paged] == [audit.id for audit in whole]
    keys = [(getattr(audit, sort_key) is not None, getattr(audit, sort_key)) for audit in whole]
    some = [str(key[1]) for key in keys if key[0]]
    if sort_key != "id":
        assert some == sorted(some, reverse=sort_dir == "desc")
        assert [k[0] for k in keys] == sorted((k[0] for k in keys), reverse=sort_dir == "desc")


async def test_an_unknown_marker_or_sort_key_is_an_error(world):
    async with world.store.read() as session:
        with pytest.raises(NotFound):
            await session.audits.list(Query(marker_id=4711))
        for key in ("goal_name", "colour"):
            with pytest.raises(InvalidArgument):
                await session.audits.list(Query(sort_key=key))


@pytest.mark.parametrize("number", [1, 6])
async def test_a_list_takes_the_same_few_statements_whatever_its_length(world, number):
    for _ in range(number):
        await world.plan(2)
    counts = {}
    async with world.store.read() as session:
        statements: list[str] = []
        connection = session._connection.sync_connection

        def note(_connection, _cursor, statement, *_rest):
            if statement.startswith("SELECT"):
                statements.append(statement)

        sa.event.listen(connection, "before_cursor_execute", note)
        for name in ("audits", "action_plans", "actions", "strategies"):
            statements.clear()
            found = await getattr(session, name).list(Query(limit=100))
            counts[name] = len(statements)
            assert len(found) >= (number if name != "strategies" else 1)
    assert counts == {"audits": 1, "action_plans": 2, "actions": 1, "strategies": 1}


async def test_a_plan_shows_its_audit_its_strategy_and_its_indicators(world):
    audit = await world.audit()
    plan = await world.store.publish_plan(world.plan_of(audit), world.actions(1))
    async with world.store.read() as session:
        (found,) = await session.action_plans.list(Query(filters={"audit_uuid": audit.uuid}))
        assert found == plan == await session.action_plans.get(plan.uuid)
        actions = await session.actions.list(Query(filters={"action_plan_uuid": plan.uuid}))
    assert (found.audit_uuid, found.audit_name) == (audit.uuid, audit.name)
    assert found.strategy_name == "dummy"
    assert [(i.name, i.value, i.unit) for i in found.efficacy_indicators] == [("moved", 12.5, "%")]
    assert actions[0].action_plan_uuid == plan.uuid


async def test_an_id_of_a_goal_that_does_not_exist_is_refused(world):
    with pytest.raises(Exception, match="does not exist"):
        await world.audit(goal_id=4711)


async def test_rolling_back_leaves_nothing(world):
    class StopError(Exception):
        pass

    async def half(session):
        await session.goals.create(Goal(uuid="", name="half", display_name="Half"))
        raise StopError

    with pytest.raises(StopError):
        await world.store.transact(half)
    async with world.store.read() as session:
        with pytest.raises(NotFound):
            await session.goals.get("half")


@pytest.mark.parametrize("ident", ["9" * 10, "9" * 5000, "\0", "a\0b", "\ud800", "x" * 5000])
async def test_an_ident_that_no_database_holds_is_not_found(world, ident):
    async with world.store.read() as session:
        with pytest.raises(NotFound):
            await session.goals.get(ident)


@pytest.mark.parametrize("name", ["\0", "a\0b", "\ud800", "x" * 5000])
async def test_a_filter_that_no_database_holds_matches_nothing(world, name):
    async with world.store.read() as session:
        assert await session.audits.list(Query(filters={"goal": name})) == []


@pytest.mark.req("A-024", "A-027")
@pytest.mark.parametrize("sort_dir", ["asc", "desc"])
@pytest.mark.parametrize("sort_key", ["id", "name", "hostname"])
async def test_pages_lose_and_double_nothing_while_rows_and_markers_come_and_go(
    world, sort_key, sort_dir
):
    for number in range(12):
        hostname = None if number % 3 == 0 else f"h{number % 2}"  # many ties, some NULL
        await world.audit(name=f"n{(number * 7) % 12:02d}", hostname=hostname)
    order = {"sort_key": sort_key, "sort_dir": sort_dir}
    async with world.store.read() as session:
        expected = [audit.id for audit in await session.audits.list(Query(**order))]
    found: list[int] = []
    marker = None
    while True:
        async with world.store.read() as session:
            page = await session.audits.list(Query(limit=2, marker_id=marker, **order))
        found += [audit.id for audit in page]
        if len(page) < 2:
            break
        marker = page[-1].id
        async with world.store.write() as session:
            await session.audits.update(page[-1].uuid, {"auto_trigger": True})
            await session.audits.transition(page[-1].uuid, to=AuditState.CANCELLED, actor=Actor.API)
            await session.audits.soft_delete(page[-1].uuid)  # the marker of the next page
        if len(found) < 12:
            await world.audit(name=f"n{len(found):02d}-new", hostname="h0")
    assert len(found) == len(set(found))
    assert [one for one in found if one in set(expected)] == expected
