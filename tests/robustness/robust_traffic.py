"""What users ask for meanwhile: an audit, a plan of 30 actions, by REST, again and again until it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from robust_site import Site, eventually

ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SUPERSEDED"}
LIVE, COLD = 20, 4
ASK_FOR_S = 90.0
Json = Any


def thirty_actions(site: Site) -> list[dict[str, Json]]:
    """20 live and 4 cold migrations, a host closed and opened, two nops, two sleeps."""
    state = site.control.get("/state").json()
    free = {
        host["hostname"]: host["inventories"]["MEMORY_MB"]["capacity"]
        - host["inventories"]["MEMORY_MB"]["used"]
        for host in state["hosts"]
    }
    cores = {
        host["hostname"]: host["inventories"]["VCPU"]["capacity"]
        - host["inventories"]["VCPU"]["used"]
        for host in state["hosts"]
    }
    ready = [s for s in state["servers"] if s["status"] == "ACTIVE" and s["task_state"] is None]
    ready.sort(key=lambda server: (server["memory_mib"], server["uuid"]))
    moves: list[dict[str, Json]] = []
    for server in ready:
        if len(moves) == LIVE + COLD:
            break
        rooms = [h for h in free if h != server["host"] and cores[h] >= server["vcpus"]]
        target = max(rooms, key=lambda host: free[host], default=None)
        if target is None or free[target] < server["memory_mib"]:
            continue
        free[target] -= server["memory_mib"]
        cores[target] -= server["vcpus"]
        moves.append(
            _action(
                "migrate",
                resource_id=server["uuid"],
                migration_type="live" if len(moves) < LIVE else "cold",
                source_node=server["host"],
                destination_node=target,
            )
        )
    assert len(moves) == LIVE + COLD, f"only {len(moves)} servers can move"
    host = state["hosts"][0]["hostname"]
    return [
        *moves,
        *[
            _action("change_nova_service_state", resource_id=host, resource_name=host, state=wanted)
            for wanted in ("disabled", "enabled")
        ],
        *[_action("nop", message=f"on the way {number}") for number in range(2)],
        *[_action("sleep", duration=0.2 + number / 10) for number in range(2)],
    ]


def _action(kind: str, **parameters: Json) -> dict[str, Json]:
    resource = parameters.pop("resource_id", None)
    entry = {"action_type": kind, "input_parameters": parameters}
    return entry if resource is None else {**entry, "resource_id": resource}


def until_answered(ask: Callable[[], httpx.Response], *fine: int) -> Json:
    """Asks again while nobody answers; a status that is not in `fine` is an error at once."""
    end = time.monotonic() + ASK_FOR_S
    while True:
        try:
            answer = ask()
        except httpx.TransportError as error:
            problem = f"{type(error).__name__}: {error}"
        else:
            if answer.status_code in fine:
                return answer.json() if answer.content else None
            problem = f"{answer.status_code} {answer.text}"
            assert answer.status_code in (502, 503, 504), problem
        assert time.monotonic() < end, problem
        time.sleep(0.1)


def post_audit(site: Site, actions: list[dict[str, Json]], *, auto_trigger: bool) -> Json:
    """The audit; asked for again under the same name when no answer came."""
    name = f"robust-{uuid4().hex[:12]}"
    body = {
        "name": name,
        "audit_type": "ONESHOT",
        "goal": "unclassified",
        "strategy": "actuator",
        "parameters": {"actions": actions},
        "auto_trigger": auto_trigger,
        "force": True,
    }
    until_answered(lambda: site.http.post("/v1/audits", json=body), 201, 409)
    return until_answered(lambda: site.http.get(f"/v1/audits/{name}"), 200)


def rename_audit(site: Site, audit: Json) -> None:
    patch = [{"op": "replace", "path": "/name", "value": f"{audit['name']}-b"}]
    until_answered(lambda: site.http.patch(f"/v1/audits/{audit['uuid']}", json=patch), 200)


def get(site: Site, path: str) -> Json:
    return until_answered(lambda: site.http.get(path), 200)


def plan_of(site: Site, audit: Json) -> Json | None:
    plans = get(site, f"/v1/action_plans/detail?audit_uuid={audit['uuid']}")["action_plans"]
    return plans[0] if plans else None


def until_all_ended(site: Site) -> None:
    """No plan of a run that went wrong is left for the next one."""

    def none_runs() -> bool:
        plans = get(site, "/v1/action_plans?sort_key=id&sort_dir=desc&limit=5")["action_plans"]
        return all(plan["state"] in {*ENDED, "RECOMMENDED"} for plan in plans)

    eventually(none_runs, ASK_FOR_S, "plans are still under way")


def start(site: Site, plan: Json) -> None:
    """Once; asked again, an answer of 409 (it is started) is as good."""
    until_answered(lambda: site.http.post(f"/v1/action_plans/{plan['uuid']}/start"), 200, 400, 409)


def cancel(site: Site, plan: Json) -> None:
    """A plan that ended meanwhile refuses it."""
    patch = [{"op": "replace", "path": "/state", "value": "CANCELLING"}]
    until_answered(
        lambda: site.http.patch(f"/v1/action_plans/{plan['uuid']}", json=patch), 200, 400, 409
    )
