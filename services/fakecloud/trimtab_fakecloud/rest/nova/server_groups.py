"""``/os-server-groups``: affinity and anti-affinity, with one policy and rules from 2.64 on."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.groups import POLICIES, ServerGroup
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import at_least, boolean, page_of

_ONE_POLICY = 64


class ServerGroupsApi:
    """Handlers of server groups."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        """Where they are."""
        return [
            Route("/os-server-groups", self.list, methods=["GET"]),
            Route("/os-server-groups", self.create, methods=["POST"]),
            Route("/os-server-groups/{id}", self.show, methods=["GET"]),
            Route("/os-server-groups/{id}", self.delete, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """``GET /os-server-groups``."""
        token = caller_of(request).token
        groups = self._cloud.groups.all()
        if not (boolean(request.query_params.get("all_projects"), "all_projects")):
            groups = [group for group in groups if group.project_id == token.project_id]
        else:
            token.require_admin("os_compute_api:os-server-groups:index:all_projects")
        offset = request.query_params.get("offset", "0")
        if not offset.isdecimal():
            raise BadRequest(f"Invalid input for query parameters offset. Value: {offset}.")
        limit = page_of(request, self._cloud.spec.page_limit).limit
        shown = groups[int(offset) : int(offset) + limit]
        return answer({"server_groups": [self._view(request, group) for group in shown]})

    async def show(self, request: Request) -> Response:
        """``GET /os-server-groups/{id}``."""
        group = self._cloud.groups.get(request.path_params["id"])
        return answer({"server_group": self._view(request, group)})

    async def create(self, request: Request) -> Response:
        """``POST /os-server-groups``."""
        body = (await json_object(request)).get("server_group")
        if not isinstance(body, dict):
            raise BadRequest("'server_group' is a required property")
        name, (policy, most) = body.get("name"), _policy(request, body)
        if not isinstance(name, str) or not name:
            raise BadRequest(
                f"Invalid input for field/attribute server_group. Value: {body}. "
                "'name' is a required property"
            )
        user = caller_of(request).token.user
        made = self._cloud.groups.create(
            ServerGroup(
                id=self._cloud.new_uuid(),
                name=name,
                policy=policy,
                project_id=user.project_id,
                user_id=user.id,
                max_per_host=most,
            )
        )
        return answer({"server_group": self._view(request, made)})

    async def delete(self, request: Request) -> Response:
        """``DELETE /os-server-groups/{id}``."""
        self._cloud.groups.delete(request.path_params["id"])
        return empty(204)

    def _view(self, request: Request, group: ServerGroup) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": group.id,
            "name": group.name,
            "members": self._cloud.groups.living(group),
        }
        if at_least(request, 13):
            shown |= {"project_id": group.project_id, "user_id": group.user_id}
        if at_least(request, _ONE_POLICY):
            rules = {"max_server_per_host": group.max_per_host} if group.max_per_host else {}
            return {**shown, "policy": group.policy, "rules": rules}
        return {**shown, "policies": [group.policy], "metadata": {}}


def _policy(request: Request, body: dict[str, Any]) -> tuple[str, int | None]:
    """The policy, and how many members a host may have."""
    if at_least(request, _ONE_POLICY):
        policy, rules = body.get("policy"), body.get("rules") or {}
    else:
        policies = body.get("policies")
        policy, rules = (policies[0] if isinstance(policies, list) and policies else None), {}
    if policy not in POLICIES:
        raise BadRequest(
            f"Invalid input for field/attribute policy. Value: {policy}. "
            f"{policy!r} is not one of {list(POLICIES)}"
        )
    if rules and policy != "anti-affinity":
        raise BadRequest("Only anti-affinity policy supports rules.")
    most = rules.get("max_server_per_host")
    return str(policy), int(most) if most else None
