"""What a connection offers as `infra_optim`. Errors are openstacksdk's: NotFoundException and so on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from openstack import exceptions, proxy, resource

from trimtab_sdk.resources import (
    Action,
    ActionPlan,
    Audit,
    AuditTemplate,
    Goal,
    ScoringEngine,
    Service,
    Strategy,
)

NEWEST = "1.8"
R = TypeVar("R", bound=resource.Resource)
Patch = Sequence[Mapping[str, Any]]
"""RFC 6902, e.g. [{"op": "replace", "path": "/interval", "value": 600}]."""
_ROOT_TIMEOUT_S = 30.0
_VERSIONED = re.compile(r"/v1/?$")
ENDS = ("SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED", "DELETED")


class Proxy(proxy.Proxy):
    """Names stand for uuids wherever the API allows it. Lists are read page by page as they are used.

    details: lists with all fields, not the short ones. query: filters, sort_key, sort_dir, limit.
    """

    _agreed: str | None = None

    def goals(self, *, details: bool = True, **query: Any) -> Iterator[Goal]:
        """All goals."""
        return self._all(Goal, details=details, query=query)

    def get_goal(self, goal: str | Goal) -> Goal:
        """One goal. NotFoundException."""
        return self._get(Goal, goal)

    def strategies(self, *, details: bool = True, **query: Any) -> Iterator[Strategy]:
        """All strategies; `goal=` of one goal."""
        return self._all(Strategy, details=details, query=query)

    def get_strategy(self, strategy: str | Strategy) -> Strategy:
        """One strategy. NotFoundException."""
        return self._get(Strategy, strategy)

    def get_strategy_state(self, strategy: str | Strategy) -> list[dict[str, Any]]:
        """Whether a strategy has what it needs: datasource, metrics, cluster data model."""
        ident = resource.Resource._get_id(strategy)  # noqa: SLF001, openstacksdk has no other
        state: list[dict[str, Any]] = self._json(f"/strategies/{ident}/state")
        return state

    # -- audit templates ------------------------------------------------------------------------

    def audit_templates(self, *, details: bool = True, **query: Any) -> Iterator[AuditTemplate]:
        """All audit templates; `goal=`, `strategy=`."""
        return self._all(AuditTemplate, details=details, query=query)

    def get_audit_template(self, audit_template: str | AuditTemplate) -> AuditTemplate:
        """One audit template. NotFoundException."""
        return self._get(AuditTemplate, audit_template)

    def create_audit_template(self, **fields: Any) -> AuditTemplate:
        """A new one. BadRequestException, ConflictException."""
        return self._create(AuditTemplate, **fields)

    def patch_audit_template(
        self, audit_template: str | AuditTemplate, patch: Patch
    ) -> AuditTemplate:
        """Changes one."""
        return self._patched(AuditTemplate, audit_template, patch)

    def delete_audit_template(
        self, audit_template: str | AuditTemplate, *, ignore_missing: bool = True
    ) -> None:
        """Away with it."""
        self._delete(AuditTemplate, audit_template, ignore_missing=ignore_missing)

    # -- audits ---------------------------------------------------------------------------------

    def audits(self, *, details: bool = True, **query: Any) -> Iterator[Audit]:
        """All audits; `goal=`, `strategy=`."""
        return self._all(Audit, details=details, query=query)

    def get_audit(self, audit: str | Audit) -> Audit:
        """One audit. NotFoundException."""
        return self._get(Audit, audit)

    def create_audit(self, **fields: Any) -> Audit:
        """A new audit: `audit_type`, `goal` or `audit_template_id`, and what else it shall have."""
        return self._create(Audit, **fields)

    def patch_audit(self, audit: str | Audit, patch: Patch) -> Audit:
        """Changes an audit. BadRequestException for a change that is not allowed."""
        return self._patched(Audit, audit, patch)

    def cancel_audit(self, audit: str | Audit) -> Audit:
        """Ends an audit before it is done."""
        return self.patch_audit(audit, [_state("CANCELLED")])

    def delete_audit(self, audit: str | Audit, *, ignore_missing: bool = True) -> None:
        """Away with an audit that has ended."""
        self._delete(Audit, audit, ignore_missing=ignore_missing)

    def trigger_audit(self, audit: str | Audit) -> None:
        """Calls the webhook of an EVENT audit."""
        ident = resource.Resource._get_id(audit)  # noqa: SLF001, openstacksdk has no other
        answer = self.post(f"/webhooks/{ident}")
        exceptions.raise_from_response(answer)

    def wait_for_audit(
        self,
        audit: str | Audit,
        *,
        status: str = "SUCCEEDED",
        wait_s: float = 300,
        every_s: float = 1,
    ) -> Audit:
        """Until it is in this state; a CONTINUOUS one stays ONGOING until it is cancelled.

        ResourceFailure in another end, ResourceTimeout.
        """
        return self._awaited(Audit, audit, status, wait_s, every_s)

    # -- plans and actions ----------------------------------------------------------------------

    def action_plans(self, *, details: bool = True, **query: Any) -> Iterator[ActionPlan]:
        """All action plans; `audit_uuid=` of one audit."""
        return self._all(ActionPlan, details=details, query=query)

    def get_action_plan(self, action_plan: str | ActionPlan) -> ActionPlan:
        """One action plan. NotFoundException."""
        return self._get(ActionPlan, action_plan)

    def start_action_plan(self, action_plan: str | ActionPlan) -> ActionPlan:
        """Lets the applier carry it out. BadRequestException when it cannot be started."""
        known = self._get_resource(ActionPlan, action_plan)
        path = f"{ActionPlan.base_path}/{known.id}/start"
        answer = self.post(path, json={})
        exceptions.raise_from_response(answer)
        return self.get_action_plan(known)

    def rollback_action_plan(
        self, action_plan: str | ActionPlan, *, actions: Sequence[str] = ()
    ) -> ActionPlan:
        """Undoes a plan that has ended, or these of its actions: the new plan that does so, launched.

        Microversion 1.8; Watcher has no such thing.
        """
        known = self._get_resource(ActionPlan, action_plan)
        path = f"{ActionPlan.base_path}/{known.id}/rollback"
        body = {"actions": list(actions)} if actions else {}
        made = ActionPlan.new()
        made._translate_response(self.post(path, json=body, microversion=NEWEST))  # noqa: SLF001, as below
        return made

    def cancel_action_plan(self, action_plan: str | ActionPlan) -> ActionPlan:
        """Before its start at once; one under way ends what it has begun first."""
        known = self.get_action_plan(action_plan)
        wanted = "CANCELLING" if known.state == "ONGOING" else "CANCELLED"
        return self._patched(ActionPlan, known, [_state(wanted)])

    def delete_action_plan(
        self, action_plan: str | ActionPlan, *, ignore_missing: bool = True
    ) -> None:
        """Away with a plan that has ended."""
        self._delete(ActionPlan, action_plan, ignore_missing=ignore_missing)

    def wait_for_action_plan(
        self,
        action_plan: str | ActionPlan,
        *,
        status: str = "SUCCEEDED",
        wait_s: float = 3600,
        every_s: float = 1,
    ) -> ActionPlan:
        """Until it is in this state. ResourceFailure in another end, ResourceTimeout."""
        return self._awaited(ActionPlan, action_plan, status, wait_s, every_s)

    def actions(self, *, details: bool = True, **query: Any) -> Iterator[Action]:
        """All actions; `action_plan_uuid=`, `audit_uuid=`."""
        return self._all(Action, details=details, query=query)

    def get_action(self, action: str | Action) -> Action:
        """One action. NotFoundException."""
        return self._get(Action, action)

    def skip_action(self, action: str | Action, *, reason: str = "") -> Action:
        """Leaves an action of a plan out that has not begun; microversion 1.5."""
        patch: list[Mapping[str, Any]] = [_state("SKIPPED")]
        if reason:
            patch.append({"op": "replace", "path": "/status_message", "value": reason})
        return self._patched(Action, action, patch)

    # -- the rest -------------------------------------------------------------------------------

    def scoring_engines(self, *, details: bool = True, **query: Any) -> Iterator[ScoringEngine]:
        """All scoring engines."""
        return self._all(ScoringEngine, details=details, query=query)

    def get_scoring_engine(self, scoring_engine: str | ScoringEngine) -> ScoringEngine:
        """One scoring engine. NotFoundException."""
        return self._get(ScoringEngine, scoring_engine)

    def services(self, *, details: bool = True, **query: Any) -> Iterator[Service]:
        """The replicas of decision and applier."""
        return self._all(Service, details=details, query=query)

    def get_service(self, service: str | Service) -> Service:
        """One of them. NotFoundException."""
        return self._get(Service, service)

    def get_data_model(
        self, *, audit: str = "", data_model_type: str = "compute"
    ) -> dict[str, Any]:
        """The cluster as the audits see it; `audit` (a uuid): as far as its scope goes."""
        query = {"audit_uuid": audit} if audit else {}
        model: dict[str, Any] = self._json("/data_model", data_model_type=data_model_type, **query)
        return model

    # -- how ------------------------------------------------------------------------------------

    def request(self, *arguments: Any, **options: Any) -> Any:
        """As of every proxy, in the newest microversion that both know.

        openstacksdk's own name of the service is resource-optimization, which no API understands in that header.
        """
        options.setdefault("microversion_service_type", "infra-optim")
        options["microversion"] = options.get("microversion") or self._newest()
        return super().request(*arguments, **options)

    def _all(self, kind: Any, *, details: bool, query: Mapping[str, Any]) -> Iterator[Any]:
        path = f"{kind.base_path}/detail" if details else None
        found: Iterator[Any] = self._list(kind, base_path=path, **query)
        return found

    def _newest(self) -> str:
        """The newest microversion that both ends know; the root of the API tells theirs.

        openstacksdk would look for it at /v1, where this API does not tell it.
        """
        if self._agreed is None:
            root = _VERSIONED.sub("/", str(self.get_endpoint()))
            answer = self.session.get(root, authenticated=False, timeout=_ROOT_TIMEOUT_S)
            exceptions.raise_from_response(answer)
            theirs = {one["id"]: one["max_version"] for one in answer.json()["versions"]}
            if "v1" not in theirs:
                raise exceptions.SDKException(f"{root} offers no v1: is it the optimization API?")
            known = [theirs["v1"], NEWEST]
            self._agreed = min(known, key=lambda text: [int(part) for part in text.split(".")])
        return self._agreed

    def _json(self, path: str, **query: str) -> Any:
        answer = self.get(path, params=query)
        exceptions.raise_from_response(answer)
        return answer.json()

    def _patched(self, kind: type[R], ident: str | R, patch: Patch) -> R:
        changed: R = self._get_resource(kind, ident)
        answer = self.patch(f"{kind.base_path}/{changed.id}", json=list(patch))
        changed._translate_response(answer)  # noqa: SLF001, as openstacksdk's own resources do
        return changed

    def _awaited(
        self, kind: type[R], watched: str | R, status: str, wait_s: float, every_s: float
    ) -> R:
        reached: R = resource.wait_for_status(
            self,
            self._get(kind, watched),  # wait_for_status believes what it is given
            status,
            [state for state in ENDS if state != status],
            every_s,
            wait_s,
            attribute="state",
        )
        return reached


def _state(state: str) -> dict[str, str]:
    return {"op": "replace", "path": "/state", "value": state}
