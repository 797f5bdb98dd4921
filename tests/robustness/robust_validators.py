"""What must hold after every run: nothing twice, nothing lost, the record says what the cloud shows."""

from __future__ import annotations

from collections import Counter
from typing import Any

from robust_site import Site
from robust_traffic import ENDED, get

Json = Any
ACTION_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED"}
_ASKS = {"live": "os-migrateLive", "cold": "migrate"}


def ledger(site: Site) -> list[Json]:
    """Every write that the cloud was asked for, oldest first."""
    return list(site.control.get("/ledger").json()["entries"])


def problems(site: Site, plan: Json, written: list[Json]) -> list[str]:
    """What is wrong with a plan that ended; `written`: the ledger since it was made."""
    actions = get(site, f"/v1/actions/detail?action_plan_uuid={plan['uuid']}&limit=100")["actions"]
    state = site.control.get("/state").json()
    where = {server["uuid"]: server for server in state["servers"]}
    found = []
    if plan["state"] not in ENDED:
        found.append(f"the plan is {plan['state']}")
    open_ones = [a["uuid"] for a in actions if a["state"] not in ACTION_ENDED]
    if open_ones:
        found.append(f"{len(open_ones)} actions have not ended, first {open_ones[0]}")
    if _belies_its_actions(plan, actions):
        found.append(f"the plan is {plan['state']} with {Counter(a['state'] for a in actions)}")
    accepted = [entry for entry in written if entry["status"] < 400]
    asked = _asked(accepted)
    for action in actions:
        if action["action_type"] == "migrate":
            found += _check_move(action, asked, where)
    found += _check_host(actions, accepted, state)
    wanted = {a["input_parameters"].get("resource_id") for a in actions}
    strange = [
        server for (what, server) in asked if what in _ASKS.values() and server not in wanted
    ]
    if strange:
        found.append(f"servers were moved that are in no action: {strange}")
    return found


def _belies_its_actions(plan: Json, actions: list[Json]) -> bool:
    """Whether the plan's state says something else than its actions' states.

    What failed before a cancel stays FAILED in a plan that is CANCELLED; what could not be aborted
    makes the plan FAILED (B-280, B-281).
    """
    failed = [a for a in actions if a["state"] == "FAILED"]
    if plan["state"] == "CANCELLED":
        return any("failed in abort" in a["status_message"] for a in failed)
    return bool(failed) != (plan["state"] == "FAILED")


def _asked(accepted: list[Json]) -> Counter[tuple[str, str]]:
    """How often each server was asked to do what."""
    return Counter(
        (what, entry["path"].split("/")[-2])
        for entry in accepted
        if entry["service"] == "compute" and entry["path"].endswith("/action")
        for what in (entry["body"] or {})
    )


def _check_move(action: Json, asked: Counter[tuple[str, str]], where: dict[str, Json]) -> list[str]:
    given, state = action["input_parameters"], action["state"]
    uuid = given["resource_id"]
    times = asked[_ASKS[given["migration_type"]], uuid]
    server = where[uuid]
    label = f"{given['migration_type']} migration of {uuid} ({state}, {action['status_message']})"
    found = []
    if times > 1:
        found.append(f"{label} was asked for {times} times")
    if asked["confirmResize", uuid] > 1:
        found.append(f"{label} was confirmed {asked['confirmResize', uuid]} times")
    if state == "SUCCEEDED" and (times != 1 or server["host"] != given["destination_node"]):
        found.append(f"{label}: asked for {times} times, the server is on {server['host']}")
    if state in ("SKIPPED", "PENDING") and times:
        found.append(f"{label} was asked for all the same")
    if state in ("FAILED", "CANCELLED", "SKIPPED") and server["host"] != given["source_node"]:
        found.append(f"{label}: the server is on {server['host']}")
    if server["task_state"] is not None or server["status"] != "ACTIVE":
        found.append(f"{label}: the server is {server['status']}, {server['task_state']}")
    return found


def _check_host(actions: list[Json], accepted: list[Json], state: Json) -> list[str]:
    """Closing and opening are each written at most once; the host is what the last one made it."""
    puts = Counter(
        entry["body"]["status"]
        for entry in accepted
        if entry["method"] == "PUT" and "/os-services/" in entry["path"]
    )
    found = [f"{status} was written {n} times" for status, n in puts.items() if n > 1]
    steps = [a for a in actions if a["action_type"] == "change_nova_service_state"]
    for step in steps:
        wanted = step["input_parameters"]["state"]
        if (step["state"] == "SUCCEEDED") != bool(puts[wanted]):
            found.append(f"{wanted} is {step['state']} and was written {puts[wanted]} times")
    done = [s["input_parameters"]["state"] for s in steps if s["state"] == "SUCCEEDED"]
    if done:
        host = steps[0]["input_parameters"]["resource_name"]
        shown = next(h["status"] for h in state["hosts"] if h["hostname"] == host)
        if shown != done[-1]:
            found.append(f"{host} is {shown}, the last action made it {done[-1]}")
    return found
