"""The writer that is api: it sends at random whatever a client could send, allowed or not."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from trimtab_api.auth import DefaultPolicy, NoAuth
from trimtab_api.ports import Deps
from trimtab_api.rest import RestApi, RestRequest
from trimtab_api.settings import ApiSettings
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.store import Store

AUDIT_STATES = [
    "PENDING",
    "ONGOING",
    "SUCCEEDED",
    "FAILED",
    "CANCELLED",
    "SUSPENDED",
    "DELETED",
    "NONSENSE",
]
PLAN_STATES = [
    "RECOMMENDED",
    "PENDING",
    "ONGOING",
    "SUCCEEDED",
    "FAILED",
    "CANCELLING",
    "CANCELLED",
    "SUPERSEDED",
    "DELETED",
]
ACTION_STATES = [
    "PENDING",
    "ONGOING",
    "SUCCEEDED",
    "FAILED",
    "CANCELLING",
    "CANCELLED",
    "SKIPPED",
    "DELETED",
]
HEADERS = {"openstack-api-version": "infra-optim latest", "content-type": "application/json"}
BUSY = 503
"""Another writer had the database for too long: the client is told to try again, and nothing is done."""
RECENT = 12
"""Everybody works on the newest few, so that they meet."""


@dataclass(slots=True)
class Tally:
    """What the writers did, over all threads."""

    wanted: int
    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, what: str, status: int) -> None:
        with self._lock:
            self.sent[what] += 1
            self.statuses[status] += 1
            if sum(self.sent.values()) >= self.wanted:
                self.ended.set()


class Silent:
    def wake_audit(self, _uuid: str) -> None: ...

    def check_scope(self, _uuid: str) -> None: ...

    def wake_plan(self, _uuid: str) -> None: ...


class ApiWriter:
    """Sends requests that a client could send."""

    def __init__(self, store: Store, tally: Tally, seed: int) -> None:
        numbers = itertools.count()
        deps = Deps(
            store=store,
            clock=SystemClock(),
            new_uuid=lambda: str(uuid4()),
            waker=Silent(),
            strategy_states=SimpleNamespace(),
            rollbacks=SimpleNamespace(),
            models=SimpleNamespace(compute=self._no_model),
            settings=ApiSettings(auth="none"),
        )
        self._api = RestApi(
            deps,
            authenticator=NoAuth(),
            policy=DefaultPolicy(),
            new_request_id=lambda: f"req-{seed}-{next(numbers)}",
        )
        self._tally = tally
        self._random = random.Random(seed)

    async def run(self) -> None:
        works = {
            self._new_audit: 3,
            self._patch_audit: 4,
            self._delete_audit: 1,
            self._webhook: 2,
            self._patch_plan: 5,
            self._start_plan: 6,
            self._delete_plan: 1,
            self._patch_action: 4,
        }
        while not self._tally.ended.is_set():
            (work,) = self._random.choices(list(works), list(works.values()))
            await work()

    async def _no_model(self) -> None:
        return None

    async def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        request = RestRequest(method=method, raw_path=path, headers=HEADERS, body=data)
        answer = await self._api.handle(request)
        if method != "GET":
            self._tally.note(f"{method} {path.split('/')[2]}", answer.status)
        if answer.status >= 500 and answer.status != BUSY:
            self._tally.broken.append(f"{method} {path}: {answer.status} {answer.body!r}")
        return json.loads(answer.body or b"null") if answer.status < 300 else None

    async def _newest(self, plural: str, query: str = "") -> str | None:
        path = f"/v1/{plural}?limit={RECENT}&sort_key=id&sort_dir=desc{query}"
        found = (await self._send("GET", path) or {}).get(plural, [])
        return str(self._random.choice(found)["uuid"]) if found else None

    async def _new_audit(self) -> None:
        kind = self._random.choice(["ONESHOT", "ONESHOT", "EVENT", "CONTINUOUS"])
        body = {
            "audit_type": kind,
            "name": f"a-{uuid4()}",
            "goal": "dummy",
            "strategy": self._random.choice(["dummy", "dummy", "often"]),
            "auto_trigger": self._random.random() < 0.5,
            "force": self._random.random() < 0.8,
        }
        if kind == "CONTINUOUS":
            ends_at = datetime.now(UTC) + timedelta(seconds=self._random.choice([-1, 1, 5]))
            body |= {"interval": "1", "end_time": ends_at.isoformat()}
        await self._send("POST", "/v1/audits", body)

    async def _patch(self, plural: str, states: list[str], query: str = "") -> None:
        uuid = await self._newest(plural, query)
        if uuid is not None:
            value = self._random.choice(states)
            body = [{"op": "replace", "path": "/state", "value": value}]
            await self._send("PATCH", f"/v1/{plural}/{uuid}", body)

    async def _patch_audit(self) -> None:
        await self._patch("audits", AUDIT_STATES)

    async def _patch_plan(self) -> None:
        await self._patch("action_plans", [*PLAN_STATES, "CANCELLING", "CANCELLED"])

    async def _patch_action(self) -> None:
        await self._patch("actions", [*ACTION_STATES, "SKIPPED", "SKIPPED", "SKIPPED"])

    async def _delete_audit(self) -> None:
        if (uuid := await self._newest("audits")) is not None:
            await self._send("DELETE", f"/v1/audits/{uuid}")

    async def _delete_plan(self) -> None:
        if (uuid := await self._newest("action_plans")) is not None:
            await self._send("DELETE", f"/v1/action_plans/{uuid}")

    async def _start_plan(self) -> None:
        if (uuid := await self._newest("action_plans")) is not None:
            await self._send("POST", f"/v1/action_plans/{uuid}/start")

    async def _webhook(self) -> None:
        if (uuid := await self._newest("audits")) is not None:
            await self._send("POST", f"/v1/webhooks/{uuid}")
