"""Every route: method, path below /v1, RPC, policy rule, endpoint. One table for both doors.

A test proves that the google.api.http options of the proto name the same paths.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from trimtab_api.rest import endpoints, roots
from trimtab_api.rest.call import Endpoint
from trimtab_api.rest.catalogue import kept
from trimtab_api.rest.collections import listing, show
from trimtab_api.rest.faults import MethodNotAllowed, RouteNotFound
from trimtab_api.rest.paging import LISTING
from trimtab_common.domain import resources
from trimtab_common.domain.resources import Resource

IDENT = "{ident}"
WEBHOOK_RULE = "webhook:trigger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`path`: segments below /v1, IDENT where a resource is named."""

    method: str
    path: tuple[str, ...]
    rpc: str
    rule: str
    endpoint: Endpoint
    parameters: frozenset[str] = frozenset()
    """The query parameters that it declares; any other is refused (A-029)."""

    def matches(self, segments: Sequence[str]) -> bool:
        """Whether a path of this many segments is this route's, whatever the method."""
        return len(self.path) == len(segments) and all(
            wanted in (IDENT, given) for wanted, given in zip(self.path, segments, strict=True)
        )


def _reads(resource: Resource, one: str, many: str) -> Iterator[Route]:
    """List, detail and show of a resource."""
    plural, name = resource.plural, resource.name
    keep = kept if plural in _CATALOGUE else _as_it_is
    for path, rule, endpoint in (
        ((plural,), "get_all", listing(resource, detail=False)),
        ((plural, "detail"), "detail", listing(resource, detail=True)),
    ):
        yield Route(
            method="GET",
            path=path,
            rpc=f"List{many}",
            rule=f"{name}:{rule}",
            endpoint=keep(endpoint),
            parameters=LISTING | frozenset(resource.filters),
        )
    yield Route(
        method="GET",
        path=(plural, IDENT),
        rpc=f"Get{one}",
        rule=f"{name}:get",
        endpoint=keep(show(resource)),
    )


_CATALOGUE = {"goals", "strategies"}


def _as_it_is(endpoint: Endpoint) -> Endpoint:
    return endpoint


def _route(method: str, path: str, rpc: str, rule: str, endpoint: Endpoint) -> Route:
    return Route(method=method, path=tuple(path.split("/")), rpc=rpc, rule=rule, endpoint=endpoint)


ROUTES: tuple[Route, ...] = (
    Route(method="GET", path=(), rpc="GetV1", rule="", endpoint=roots.get_v1),
    *_reads(resources.GOALS, "Goal", "Goals"),
    *_reads(resources.STRATEGIES, "Strategy", "Strategies"),
    _route(
        "GET",
        "strategies/{ident}/state",
        "GetStrategyState",
        "strategy:state",
        endpoints.strategy_state,
    ),
    *_reads(resources.AUDIT_TEMPLATES, "AuditTemplate", "AuditTemplates"),
    _route(
        "POST",
        "audit_templates",
        "CreateAuditTemplate",
        "audit_template:create",
        endpoints.create_audit_template,
    ),
    _route(
        "PATCH",
        "audit_templates/{ident}",
        "UpdateAuditTemplate",
        "audit_template:update",
        endpoints.update_audit_template,
    ),
    _route(
        "DELETE",
        "audit_templates/{ident}",
        "DeleteAuditTemplate",
        "audit_template:delete",
        endpoints.delete_audit_template,
    ),
    *_reads(resources.AUDITS, "Audit", "Audits"),
    _route("POST", "audits", "CreateAudit", "audit:create", endpoints.create_audit),
    _route("PATCH", "audits/{ident}", "UpdateAudit", "audit:update", endpoints.update_audit),
    _route("DELETE", "audits/{ident}", "DeleteAudit", "audit:delete", endpoints.delete_audit),
    *_reads(resources.ACTION_PLANS, "ActionPlan", "ActionPlans"),
    _route(
        "PATCH",
        "action_plans/{ident}",
        "UpdateActionPlan",
        "action_plan:update",
        endpoints.update_action_plan,
    ),
    _route(
        "DELETE",
        "action_plans/{ident}",
        "DeleteActionPlan",
        "action_plan:delete",
        endpoints.delete_action_plan,
    ),
    _route(
        "POST",
        "action_plans/{ident}/start",
        "StartActionPlan",
        "action_plan:start",
        endpoints.start_action_plan,
    ),
    _route(
        "POST",
        "action_plans/{ident}/rollback",
        "RollBackActionPlan",
        "action_plan:rollback",
        endpoints.roll_back_action_plan,
    ),
    *_reads(resources.ACTIONS, "Action", "Actions"),
    _route("PATCH", "actions/{ident}", "UpdateAction", "action:update", endpoints.update_action),
    *_reads(resources.SCORING_ENGINES, "ScoringEngine", "ScoringEngines"),
    *_reads(resources.SERVICES, "Service", "Services"),
    Route(
        method="GET",
        path=("data_model",),
        rpc="GetDataModel",
        rule="data_model:get_all",
        endpoint=endpoints.get_data_model,
        parameters=frozenset({"data_model_type", "type", "audit_uuid", "audit"}),
    ),
    _route("POST", "webhooks/{ident}", "TriggerWebhook", WEBHOOK_RULE, endpoints.trigger_webhook),
)


def _grouped() -> Mapping[str, tuple[Route, ...]]:
    groups: defaultdict[str, list[Route]] = defaultdict(list)
    for route in ROUTES:
        groups[route.path[0] if route.path else ""].append(route)
    return {first: tuple(routes) for first, routes in groups.items()}


_BY_FIRST = _grouped()


def find(method: str, segments: Sequence[str]) -> tuple[Route, str]:
    """The route and the ident in the path. RouteNotFound, or MethodNotAllowed with the others.

    A literal path stands alone: `audits/detail` is never an audit called detail, whatever the method.
    """
    matching = [
        r for r in _BY_FIRST.get(segments[0] if segments else "", ()) if r.matches(segments)
    ]
    if not matching:
        raise RouteNotFound(f"There is no resource at /v1/{'/'.join(segments)}.")
    if any(IDENT not in route.path for route in matching):
        matching = [route for route in matching if IDENT not in route.path]
    wanted = "GET" if method == "HEAD" else method
    for route in matching:
        if route.method == wanted:
            ident = segments[route.path.index(IDENT)] if IDENT in route.path else ""
            return route, ident
    raise MethodNotAllowed(method, tuple(sorted({route.method for route in matching})))
