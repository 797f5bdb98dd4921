"""Runs the contract dialogues of this folder (*.yaml) through every door and compares the bytes.

A dialogue is data: what the record is given, then steps of request and expectation.

    name: a sentence            req: [A-057]          settings: {max_limit: 2}
    given: {audits: [{name: a, state: SUCCEEDED}], plans: [{name: p, audit: a, actions: [PENDING]}]}
    steps:
    - ask: POST /v1/audits      version: "1.4"        headers: {..}, a list is a header sent twice
      json: {..} | body: text
      status: 201               fault: text in faultstring
      has: {member: value}      keys: [exact members] save: {name: path.to.member}
      sent: {header: value}     woken: [audit]        advance: seconds (before asking)
      collector: down | empty | [models that it holds from now on]
      edge_answers: true        Envoy refuses this itself; its answer need not be the same bytes

With `at: [versions]` a dialogue runs once at each; there `status: {0: 406, 3: 200}` means 200 from
1.3 on, and `keys_since: {5: [member]}` adds to `keys` from 1.5 on.

In values and paths `<name>` is a saved value or a uuid: `<plan p>`, `<audit a>`, `<p action 0>`.
In `has`, ANY matches anything but null, UUID a uuid, ABSENT a missing member, /x/ a pattern.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from trimtab_api.rest.request import parse_target
from trimtab_api.rest.routes import ROUTES, find
from trimtab_common.domain.resources import MAX_MINOR

HERE = Path(__file__).parent
REFERENCE = re.compile(r"<([^<>]+)>")


@dataclass
class Dialogue:
    file: str
    name: str
    steps: list[dict[str, Any]]
    req: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def load() -> list[Dialogue]:
    return [
        Dialogue(file=path.stem, **one)
        for path in sorted(HERE.glob("*.yaml"))
        for item in yaml.safe_load(path.read_text())
        for one in by_version(item)
    ]


def by_version(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The dialogue itself, or one for each microversion of `at`."""
    if "at" not in item:
        yield item
        return
    for version in item["at"]:
        minor = MAX_MINOR if version == "latest" else int(version.partition(".")[2])
        rest = {key: value for key, value in item.items() if key != "at"}
        steps = [at_version(step, version, minor) for step in item["steps"]]
        yield {**rest, "name": f"{item['name']} at {version}", "steps": steps}


def at_version(step: dict[str, Any], version: str, minor: int) -> dict[str, Any]:
    """The step as this version answers it; a refused one has no members to look at."""
    step = {"version": version, **step}
    if isinstance(step.get("status"), dict):
        step["status"] = next(
            status for since, status in reversed(step["status"].items()) if since <= minor
        )
    if step.get("status", 200) >= 400:
        return {key: step[key] for key in step if key not in {"keys", "keys_since", "has"}}
    since = step.pop("keys_since", {})
    if "keys" in step:
        step["keys"] = [
            *step["keys"],
            *(k for n, keys in since.items() if n <= minor for k in keys),
        ]
    step.pop("fault", None)
    return step


DIALOGUES = [
    pytest.param(d, id=f"{d.file}: {d.name}", marks=[pytest.mark.req(*d.req)] if d.req else [])
    for d in load()
]


def stable_uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def resolved(value: Any, saved: dict[str, Any]) -> Any:
    """Replaces every <name> by its saved value, or by the uuid of that name."""
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole and whole[1] in saved:
            return saved[whole[1]]
        return REFERENCE.sub(lambda m: str(saved.get(m[1], stable_uuid(m[1]))), value)
    if isinstance(value, dict):
        return {key: resolved(member, saved) for key, member in value.items()}
    if isinstance(value, list):
        return [resolved(member, saved) for member in value]
    return value


def differences(wanted: Any, got: Any, at: str = "") -> list[str]:
    """Where `got` is not what is wanted; members that are not named do not matter."""
    if isinstance(wanted, dict) and isinstance(got, dict):
        found = []
        for key, member in wanted.items():
            if member == "ABSENT":
                found += [f"{at}.{key} should be absent"] if key in got else []
            elif key not in got:
                found.append(f"{at}.{key} is missing")
            else:
                found += differences(member, got[key], f"{at}.{key}")
        return found
    if isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return [f"{at} has {len(got)} items, not {len(wanted)}: {got}"]
        return [
            line
            for index, (one, other) in enumerate(zip(wanted, got, strict=True))
            for line in differences(one, other, f"{at}[{index}]")
        ]
    return [] if equal(wanted, got) else [f"{at} is {got!r}, not {wanted!r}"]


def equal(wanted: Any, got: Any) -> bool:
    if wanted == "ANY":
        return got is not None
    if wanted == "UUID":
        return isinstance(got, str) and re.fullmatch(r"[0-9a-f-]{36}", got) is not None
    if isinstance(wanted, str) and len(wanted) > 1 and wanted[0] == wanted[-1] == "/":
        return isinstance(got, str) and re.fullmatch(wanted[1:-1], got) is not None
    return type(wanted) is type(got) and bool(wanted == got)


def dig(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def fault_of(body: Any) -> dict[str, Any]:
    """The inner document of a double encoded error."""
    assert list(body) == ["error_message"], body
    inner = json.loads(body["error_message"])
    assert list(inner) == ["faultcode", "faultstring", "debuginfo"], inner
    return inner


async def run(dialogue: Dialogue, world: Any, door: Any, name: str) -> list[Any]:
    """Asks every step and checks its answer; gives the answers."""
    saved: dict[str, Any] = {}
    transcript = []
    for number, step in enumerate(dialogue.steps):
        if "advance" in step:
            await world.clock.advance(step["advance"])
        world.waker.woken.clear()
        world.collector.is_down = step.get("collector") == "down"
        if step.get("collector") == "empty":
            world.collector.model = None
        if isinstance(step.get("collector"), list):
            world.collector.holds = tuple(step["collector"])
        method, _, path = resolved(step["ask"], saved).partition(" ")
        headers = [
            (name.lower(), value)
            for name, given in step.get("headers", {}).items()
            for value in (given if isinstance(given, list) else [given])
        ]
        if "version" in step:
            headers.append(("openstack-api-version", f"infra-optim {step['version']}"))
        body = b""
        if "json" in step:
            body = json.dumps(resolved(step["json"], saved)).encode()
        elif "body" in step:
            body = step["body"].encode()
        elif "body_bytes" in step:
            body = b"x" * step["body_bytes"]
        answer = await door.ask(method, path, headers, body)
        transcript.append(answer)
        check(f"{name} step {number + 1}: {step['ask']}", step, answer, world, saved)
    return transcript


def check(where: str, step: dict[str, Any], answer: Any, world: Any, saved: dict[str, Any]) -> None:
    text = answer.body.decode()
    assert answer.status == step.get("status", 200), f"{where}: {answer.status} {text}"
    assert re.fullmatch(r"req-[0-9a-f-]+", answer.headers["x-openstack-request-id"]), where
    body = None
    if answer.status in (202, 204) or step["ask"].startswith("HEAD "):
        assert text == "", where
    elif answer.headers["content-type"] == "application/json":
        body = json.loads(text)
    if answer.status >= 400 and body is not None:
        fault = fault_of(body)
        side = "Server" if answer.status >= 500 else "Client"
        assert fault["faultcode"] == side, where
        assert fault["debuginfo"] is None, where
        wanted = resolved(step.get("fault", ""), saved)
        assert wanted in fault["faultstring"], f"{where}: {fault['faultstring']}"
    for name, path in step.get("save", {}).items():
        saved[name] = dig(body, path)
    if "has" in step:
        found = differences(resolved(step["has"], saved), body)
        assert not found, f"{where}: {found}"
    if "keys" in step:
        one = dig(body, step["keys_of"]) if "keys_of" in step else body
        assert sorted(one) == sorted(step["keys"]), f"{where}: {sorted(one)}"
    if "text" in step:
        assert step["text"] in text, f"{where}: {text}"
    if "sent" in step:
        found = differences(resolved(step["sent"], saved), answer.headers)
        assert not found, f"{where}: {found}"
    if "woken" in step:
        assert [kind for kind, _ in world.waker.woken] == step["woken"], where


@pytest.mark.parametrize("dialogue", DIALOGUES)
async def test_every_door_answers_as_written_and_with_the_same_bytes(
    dialogue, make_world, all_doors
):
    transcripts = []
    for name, open_door in all_doors.items():
        async with (
            make_world(dialogue.given, **dialogue.settings) as world,
            open_door(world) as door,
        ):
            transcripts.append(await run(dialogue, world, door, name))
    first, *others = transcripts
    for other in others:
        assert other == first


@pytest.mark.timeout(300)
async def test_envoy_gives_the_same_bytes(make_world, all_doors, edge, subtests):
    for dialogue in load():
        with subtests.test(f"{dialogue.file}: {dialogue.name}"):
            transcripts = []
            async with (
                make_world(dialogue.given, **dialogue.settings) as world,
                all_doors["asgi"](world) as door,
            ):
                transcripts.append(await run(dialogue, world, door, "asgi"))
            async with make_world(dialogue.given, **dialogue.settings) as world:
                edge.use(world.api)
                transcripts.append(await run(dialogue, world, edge.door, "envoy"))
            for step, direct, through in zip(dialogue.steps, *transcripts, strict=True):
                if not step.get("edge_answers"):
                    assert through == direct


@pytest.mark.req("A-014", "A-005")
async def test_envoy_refuses_a_nul_in_watchers_form_where_the_service_finds_nothing(
    make_world, all_doors, edge
):
    async with make_world() as world, all_doors["asgi"](world) as door:
        answer = await door.ask("GET", "/v1/audits/%00", (), b"")
        assert answer.status == 404
        edge.use(world.api)
        answer = await edge.door.ask("GET", "/v1/audits/%00", (), b"")
    assert answer.status == 400
    assert re.fullmatch(r"req-[0-9a-f-]{36}", answer.headers["x-openstack-request-id"])
    assert fault_of(json.loads(answer.body)) == {
        "faultcode": "Client",
        "faultstring": "The request cannot be read. Percent-encode the path, without control "
        "characters.",
        "debuginfo": None,
    }


def test_every_endpoint_is_asked_at_every_microversion_that_matters():
    asked: dict[str, set[str]] = {}
    done: set[str] = set()
    for dialogue in load():
        if dialogue.file != "every_endpoint":
            continue
        for step in dialogue.steps:
            method, _, path = step["ask"].partition(" ")
            if step.get("status", 200) in (404, 405):
                continue
            route, _ = find(method, parse_target(resolved(path, {})).segments)
            key = f"{route.method} /{'/'.join(route.path)}"
            asked.setdefault(key, set()).add(step["version"])
            if step["version"] == "latest" and step.get("status", 200) < 300:
                done.add(key)
    wanted = {"1.0", "1.3", "1.5", "1.7", "latest"}
    for route in ROUTES:
        key = f"{route.method} /{'/'.join(route.path)}"
        assert asked.get(key) == wanted, key
        assert key in done, f"{key} is only ever refused"
