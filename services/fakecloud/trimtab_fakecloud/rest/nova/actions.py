"""``POST /servers/{id}/action``: everything that is done to a server."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trimtab_fakecloud.cloud import Cloud
from trimtab_fakecloud.compute.engine import Compute
from trimtab_fakecloud.compute.lifecycle import PAUSE, REBOOT, START, STOP, UNPAUSE, Change
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.rest.answers import empty, json_object
from trimtab_fakecloud.rest.gate import caller_of
from trimtab_fakecloud.rest.nova.request import at_least
from trimtab_fakecloud.rest.nova.servers import visible_server
from trimtab_fakecloud.servers import Server

Handler = Callable[[Request, Server, Any], None]
_POWER = {"os-stop": STOP, "os-start": START, "pause": PAUSE, "unpause": UNPAUSE, "reboot": REBOOT}


class ActionsApi:
    """Handlers of server actions."""

    def __init__(self, cloud: Cloud, compute: Compute) -> None:
        self._cloud = cloud
        self._compute = compute
        self._handlers: dict[str, Handler] = {
            "os-migrateLive": self._live_migrate,
            "migrate": self._migrate,
            "resize": self._resize,
            "confirmResize": self._confirm,
            "revertResize": self._revert,
            "lock": self._lock,
            "unlock": self._unlock,
            "forceDelete": self._delete,
            **{name: self._power(change) for name, change in _POWER.items()},
        }

    def routes(self) -> list[Route]:
        """Where they are."""
        return [Route("/servers/{server_id}/action", self.act, methods=["POST"])]

    async def act(self, request: Request) -> Response:
        """The one action that the body names."""
        body = await json_object(request)
        name, wanted = next(iter(body.items()), ("", None))
        handler = self._handlers.get(name)
        if handler is None or len(body) != 1:
            raise BadRequest(f"There is no such action: {', '.join(body)}")
        handler(request, visible_server(self._cloud, request), wanted)
        return empty(204 if name == "confirmResize" else 202)

    def _live_migrate(self, request: Request, server: Server, wanted: Any) -> None:
        caller = caller_of(request)
        caller.token.require_admin("os_compute_api:os-migrate-server:migrate_live")
        fields = _fields("os-migrateLive", wanted, _live_migrate_fields(request))
        if "host" not in fields or "block_migration" not in fields:
            missing = "host" if "host" not in fields else "block_migration"
            raise BadRequest(
                "Invalid input for field/attribute os-migrateLive. "
                f"Value: {wanted}. '{missing}' is a required property"
            )
        if fields["block_migration"] == "auto" and not at_least(request, 25):
            raise BadRequest(
                "Invalid input for field/attribute block_migration. Value: auto. "
                "'auto' is not one of [True, False]"
            )
        host, force = fields["host"], fields.get("force", False)
        if at_least(request, 30) and force and not host:
            raise BadRequest("Can't force to a non-provided destination")
        self._compute.live.start(
            server,
            caller,
            host=host,
            force=bool(host) and (bool(force) or not at_least(request, 30)),
            wait_for_checks=not at_least(request, 34),
        )

    def _migrate(self, request: Request, server: Server, wanted: Any) -> None:
        caller = caller_of(request)
        caller.token.require_admin("os_compute_api:os-migrate-server:migrate")
        known = {"host"} if at_least(request, 56) else set()
        fields = _fields("migrate", wanted or {}, known) if at_least(request, 56) else {}
        self._compute.cold.migrate(server, caller, host=fields.get("host"))

    def _resize(self, request: Request, server: Server, wanted: Any) -> None:
        fields = _fields("resize", wanted, {"flavorRef", "OS-DCF:diskConfig"})
        flavor_id = str(fields.get("flavorRef", "")).rsplit("/", 1)[-1]
        flavor = self._cloud.flavors.get(flavor_id)
        if flavor is None:
            raise BadRequest("Unable to locate requested flavor.")
        self._compute.cold.resize(server, caller_of(request), flavor)

    def _confirm(self, request: Request, server: Server, _wanted: Any) -> None:
        self._compute.cold.confirm(server, caller_of(request))

    def _revert(self, request: Request, server: Server, _wanted: Any) -> None:
        self._compute.cold.revert(server, caller_of(request))

    def _lock(self, _request: Request, server: Server, wanted: Any) -> None:
        reason = wanted.get("locked_reason") if isinstance(wanted, dict) else None
        self._compute.lifecycle.lock(server, reason)

    def _unlock(self, _request: Request, server: Server, _wanted: Any) -> None:
        self._compute.lifecycle.unlock(server)

    def _delete(self, request: Request, server: Server, _wanted: Any) -> None:
        self._compute.lifecycle.delete(server, caller_of(request))

    def _power(self, change: Change) -> Handler:
        def handle(request: Request, server: Server, _wanted: Any) -> None:
            self._compute.lifecycle.change(server, caller_of(request), change)

        return handle


def _live_migrate_fields(request: Request) -> set[str]:
    known = {"host", "block_migration"}
    if not at_least(request, 25):
        known.add("disk_over_commit")
    if at_least(request, 30) and not at_least(request, 68):
        known.add("force")
    return known


def _fields(action: str, wanted: Any, known: set[str]) -> dict[str, Any]:
    """The fields of an action, none of them unknown."""
    if not isinstance(wanted, dict):
        raise BadRequest(
            f"Invalid input for field/attribute {action}. "
            f"Value: {wanted}. {wanted} is not of type 'object'"
        )
    if unknown := sorted(set(wanted) - known):
        raise BadRequest(
            f"Invalid input for field/attribute {action}. Value: {wanted}. "
            f"Additional properties are not allowed ({unknown[0]!r} was unexpected)"
        )
    return wanted
