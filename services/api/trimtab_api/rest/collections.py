"""Lists and single resources of every kind: the declarative description says what they show."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from trimtab_api import idents
from trimtab_api.rest import paging, render
from trimtab_api.rest.call import Call, Endpoint, ok
from trimtab_api.rest.request import RestResponse
from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.resources import Resource
from trimtab_common.domain.services import status
from trimtab_common.store import Marker, Query, Session

Json = Any


def listing(resource: Resource, *, detail: bool) -> Endpoint:
    """The endpoint of GET /v1/<plural> or its /detail."""

    async def endpoint(call: Call) -> RestResponse:
        page = paging.parse(resource, call.query, max_limit=call.deps.settings.max_limit)
        _refuse_both_parents(resource, page)
        async with call.deps.store.read() as session:
            records = await _page(session, resource, page, show_deleted=call.show_deleted)
            computed = await _COMPUTED.get(resource.name, _nothing)(call, session)
        last = records[-1] if records else None
        if page.sort_key in resource.page_sort_keys:
            records = paging.sorted_within_page(records, page)
        fields = (resource.detailed if detail else resource.listed)(minor=call.minor)
        body: dict[str, Json] = {
            resource.plural: [
                render.item(resource, record, fields=fields, links=call.links, computed=computed)
                for record in records
            ]
        }
        if last is not None and len(records) == page.limit:
            base = f"{call.request.origin}/v1/{resource.plural}{'/detail' if detail else ''}"
            body["next"] = page.next_link(base, str(getattr(last, "uuid", last.id)))
        return ok(body)

    return endpoint


def show(resource: Resource) -> Endpoint:
    """The endpoint of GET /v1/<plural>/{ident}."""

    async def endpoint(call: Call) -> RestResponse:
        async with call.deps.store.read() as session:
            record = await session.table(resource).get(
                idents.parse(resource, call.ident), show_deleted=call.show_deleted
            )
            computed = await _COMPUTED.get(resource.name, _nothing)(call, session)
        return ok(_whole(call, resource, record, computed))

    return endpoint


async def shown(call: Call, resource: Resource, record: Any) -> dict[str, Json]:
    """One resource with all its fields, as create and PATCH answer it."""
    computed: render.Computed = {}
    if resource.name in _COMPUTED:
        async with call.deps.store.read() as session:
            computed = await _COMPUTED[resource.name](call, session)
    return _whole(call, resource, record, computed)


def _whole(
    call: Call, resource: Resource, record: Any, computed: render.Computed
) -> dict[str, Json]:
    fields = resource.detailed(minor=call.minor)
    return render.item(resource, record, fields=fields, links=call.links, computed=computed)


async def _page(
    session: Session, resource: Resource, page: paging.PageQuery, *, show_deleted: bool
) -> Sequence[Any]:
    in_store = page.sort_key in resource.sort_keys
    filters = {resource.filters[name]: value for name, value in page.filters.items()}
    sort_key = page.sort_key if in_store else paging.DEFAULT_SORT_KEY
    query = Query(
        filters=filters,
        limit=page.limit,
        marker=await _marker(session, resource, page.marker, sort_key),
        sort_key=sort_key,
        sort_dir=page.sort_dir,
        show_deleted=show_deleted,
    )
    records: Sequence[Any] = await session.table(resource).list(query)
    return records


async def _marker(
    session: Session, resource: Resource, marker: str | None, sort_key: str
) -> Marker | None:
    """The marker may have been deleted since the page before: it still says where that ended."""
    if marker is None:
        return None
    ident: int | str | None = idents.parse_uuid(marker)
    if "uuid" not in resource.by_name:
        ident = idents.parse(resource, marker)
        if not isinstance(ident, int):
            raise InvalidArgument(f"Expected an integer as marker but received {marker}.")
    elif ident is None:
        if resource.marker_must_be_uuid:
            raise InvalidArgument(f"Expected a uuid as marker but received {marker}.")
        raise NotFound(f"The marker {marker} could not be found.")
    found: Marker = await session.table(resource).marker(ident, sort_key=sort_key)
    return found


def _refuse_both_parents(resource: Resource, page: paging.PageQuery) -> None:
    if resource.plural == "actions" and len(page.filters) > 1:
        raise InvalidArgument("action_plan_uuid and audit_uuid can not be given together.")


async def _descriptions(_call: Call, session: Session) -> render.Computed:
    """The description of an action comes from its type (A-068)."""
    by_type = await session.action_descriptions.all()
    return {"description": lambda action: by_type.get(action.action_type, "")}


async def _status(call: Call, _session: Session) -> render.Computed:
    now, down_time_s = call.deps.clock.now(), call.deps.settings.service_down_time_s
    return {"status": lambda service: status(service, now=now, down_time_s=down_time_s)}


async def _nothing(_call: Call, _session: Session) -> render.Computed:
    return {}


_COMPUTED: dict[str, Callable[[Call, Session], Awaitable[render.Computed]]] = {
    "action": _descriptions,
    "service": _status,
}
