"""Keystone v3: discovery, tokens and the catalogue."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router

from trimtab_fakecloud.clock import utc
from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.errors import BadRequest, Unauthorized
from trimtab_fakecloud.rest.answers import answer, empty, json_object
from trimtab_fakecloud.rest.gate import Gate, unauthorized_body
from trimtab_fakecloud.tokens import NO_ENTRY, Token, stable_id

REGION = "RegionOne"
_DOMAIN = {"id": "default", "name": "Default"}
_OPEN = frozenset({"", "/", "/v3", "/v3/", "/v3/auth/tokens"})


def base_url(request: Request) -> str:
    """How the caller reached this cloud."""
    return f"{request.url.scheme}://{request.url.netloc}"


def keystone_app(cloud: Cloud) -> Gate:
    """The identity service."""
    return Gate(
        Router(_Keystone(cloud).routes()),
        cloud,
        "identity",
        unauthorized_body,
        is_open=_OPEN.__contains__,
    )


class _Keystone:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def routes(self) -> list[Route]:
        return [
            Route("/", self.versions),
            Route("/v3", self.version),
            Route("/v3/", self.version),
            Route("/v3/auth/tokens", self.login, methods=["POST"]),
            Route("/v3/auth/tokens", self.validate, methods=["GET", "HEAD"]),
            Route("/v3/auth/tokens", self.revoke, methods=["DELETE"]),
            Route("/v3/auth/catalog", self.catalog),
            Route("/v3/services", self.services),
        ]

    async def versions(self, request: Request) -> Response:
        return answer({"versions": {"values": [_version(request)]}}, 300)

    async def version(self, request: Request) -> Response:
        return answer({"version": _version(request)})

    async def login(self, request: Request) -> Response:
        body = await json_object(request)
        identity = _part(body, "auth", "identity")
        scope = body["auth"].get("scope", {})
        scoped = bool(scope) and scope != "unscoped"
        methods = identity.get("methods")
        if methods == ["password"]:
            user = _part(identity, "password", "user")
            name = user.get("name") or user.get("id") or ""
            token = self._cloud.identity.login(name, str(user.get("password")), scoped=scoped)
        elif methods == ["token"]:
            token = self._cloud.identity.exchange(
                str(_part(identity, "token").get("id")), scoped=scoped
            )
        else:
            raise Unauthorized("Attempted to authenticate with an unsupported method.")
        _check_scope(scope if scoped else {}, token)
        return answer(
            {"token": self._described(token, request)}, 201, {"X-Subject-Token": token.id}
        )

    async def validate(self, request: Request) -> Response:
        self._cloud.identity.check(request.headers.get("x-auth-token"))
        subject = request.headers.get("x-subject-token")
        if not subject:
            raise BadRequest("The X-Subject-Token header is missing.")
        try:
            token = self._cloud.identity.check(subject)
        except Unauthorized:
            body = unauthorized_body(404, f"Could not find token: {subject[:8]}...", "")
            return answer(body, 404)
        with_catalog = "nocatalog" not in request.query_params
        described = self._described(token, request, with_catalog=with_catalog)
        return answer({"token": described}, 200, {"X-Subject-Token": token.id})

    async def revoke(self, request: Request) -> Response:
        self._cloud.identity.check(request.headers.get("x-auth-token"))
        self._cloud.identity.revoke(request.headers.get("x-subject-token", ""))
        return empty(204)

    async def catalog(self, request: Request) -> Response:
        return answer({"catalog": self._catalog(request), "links": {"self": str(request.url)}})

    async def services(self, request: Request) -> Response:
        self._cloud.identity.check(request.headers.get("x-auth-token")).require_admin(
            "identity:list_services"
        )
        kind = request.query_params.get("type")
        rows = [
            {"id": row["id"], "type": row["type"], "name": row["name"], "enabled": True}
            for row in self._catalog(request)
            if kind in (None, row["type"])
        ]
        return answer({"services": rows, "links": {}})

    def _described(
        self, token: Token, request: Request, *, with_catalog: bool = True
    ) -> dict[str, Any]:
        user = token.user
        described: dict[str, Any] = {
            "methods": list(token.methods),
            "user": {
                "id": user.id,
                "name": user.name,
                "domain": _DOMAIN,
                "password_expires_at": None,
            },
            "audit_ids": [token.audit_id],
            "issued_at": _time(token.issued_at),
            "expires_at": _time(token.expires_at),
        }
        if token.scoped:
            described["project"] = {
                "id": user.project_id,
                "name": user.project,
                "domain": _DOMAIN,
            }
            described["is_domain"] = False
            described["roles"] = [{"id": stable_id("role", r), "name": r} for r in user.roles]
            if with_catalog:
                described["catalog"] = self._catalog(request)
        return described

    def _catalog(self, request: Request) -> list[dict[str, Any]]:
        base = base_url(request)
        services = (
            ("identity", "keystone", f"{base}/identity"),
            ("compute", "nova", f"{base}/compute/v2.1"),
            ("placement", "placement", f"{base}/placement"),
            ("block-storage", "cinder", f"{base}/volume/v3"),
            ("baremetal", "ironic", f"{base}/baremetal"),
            (
                "metric-storage",
                "aetos",
                self._cloud.spec.metric_storage_url or f"{base}/prometheus",
            ),
            ("infra-optim", "watcher", self._cloud.spec.infra_optim_url),
        )
        return [
            {
                "id": stable_id("service", kind),
                "type": kind,
                "name": name,
                "endpoints": [
                    {
                        "id": stable_id("endpoint", f"{kind}/{interface}"),
                        "interface": interface,
                        "region": REGION,
                        "region_id": REGION,
                        "url": url,
                    }
                    for interface in ("public", "internal", "admin")
                ],
            }
            for kind, name, url in services
        ]


def _version(request: Request) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{base_url(request)}/identity/v3/"}],
        "media-types": [
            {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
        ],
    }


def _time(at: float) -> str:
    return utc(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _part(body: Any, *names: str) -> dict[str, Any]:
    for name in names:
        body = body.get(name) if isinstance(body, dict) else None
        if not isinstance(body, dict):
            raise BadRequest(f"'{name}' is a required property")
    found: dict[str, Any] = body
    return found


def _check_scope(scope: dict[str, Any], token: Token) -> None:
    """The project, if one is named, must be the user's."""
    project = scope.get("project", {})
    wanted = {value for key in ("id", "name") if (value := project.get(key))}
    if wanted - {token.user.project, token.user.project_id}:
        raise Unauthorized(NO_ENTRY)  # Keystone says why only with insecure_debug
