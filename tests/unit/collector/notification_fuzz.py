"""Feeds collector with damaged notifications: `make fuzz-notifications`, COUNT=100000 SEED=1.

Every event of the tables is damaged at random places, the bytes on the wire too, and sound events
come between. Fails when the inbox raises, stops, takes over nonsense, or its model and the deltas
that it published part ways. `test_notification_fuzz.py` runs a short one.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import traceback
from collections import Counter
from typing import Any

import structlog
from notification_builders import (
    Desk,
    a_host,
    a_server,
    aggregate_event,
    enveloped,
    group_event,
    instance_event,
    service_event,
)
from prometheus_client import REGISTRY
from test_element_models import Desk as ElementDesk
from test_element_models import capacity_event, machine_event, volume_event

from trimtab.model.v1 import model_pb2
from trimtab_collector.baremetal.ironic_events import IRONIC
from trimtab_collector.notifications.mailroom import Mailroom
from trimtab_collector.notifications.nova_events import IGNORED, TABLE
from trimtab_collector.storage import cinder_events
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.storage import PoolRow
from trimtab_common.wire import element_codec
from trimtab_common.wire.element_codec import elements_of
from trimtab_common.wire.model_codec import change_of

UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(4000)]
JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 3.5, 2**31, 2**63, 10**30, 1e308, "", "x", "a", "\x00", "é" * 300,
    "0", "-5", "2026-13-45", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00", [], {}, [None], [[]],
    [{}], {"nova_object.data": None}, {"nova_object.data": {}}, {"a": {"b": []}}, "{}", "[]",
    "12345678-1234-1234-1234-123456789abc", [1, "a"], {"": ""}, "nova-compute:a", "INFO",
]  # fmt: skip
KINDS = sorted(TABLE) + sorted(IGNORED) + sorted(cinder_events.dialect({}).table) * 2
KINDS += ["capacity.backend", *sorted(IRONIC.table)]
OUTCOMES = ("applied", "ignored", "late", "early", "malformed")


def sound(rng: random.Random, step: int) -> dict[str, Any]:
    """Any event of the tables, on one of a few elements."""
    kind = rng.choice(KINDS)
    family = kind.partition(".")[0]
    at = f"2026-01-01 {step // 3600 % 24:02}:{step // 60 % 60:02}:{step % 60:02}.{rng.randrange(10**6):06}"
    common = {"timestamp": at, "publisher_id": f"nova-compute:{rng.choice('abc')}"}
    host = rng.choice(["a", "b", "c", "new", None])
    if family in ("volume", "capacity", "baremetal"):
        return sound_element(rng, kind, at)
    if family == "service":
        message = service_event(kind, host or "a", disabled=rng.choice([True, False]))
    elif family == "aggregate":
        message = aggregate_event(kind, rng.randrange(4), hosts=["a", "b"])
    elif family == "server_group":
        message = group_event(kind, *rng.sample(UUIDS, 3))
    else:
        state = rng.choice(["active", "stopped", "resized", "deleted", "error", "new-state"])
        message = instance_event(kind, host, server=rng.choice(UUIDS), state=state)
    message |= common
    message["priority"] = TABLE[kind].priority if kind in TABLE else "INFO"
    return message


def sound_element(rng: random.Random, kind: str, at: str) -> dict[str, Any]:
    """An event of Cinder or Ironic."""
    key = rng.choice(UUIDS)
    if kind.startswith("volume."):
        pool = rng.choice(["s@b#p", "s@b#q", "other#x", None])
        message = volume_event(kind, volume_id=key, host=pool, size=rng.randrange(100))
    elif kind.startswith("capacity."):
        message = capacity_event("s@b#p", kind)
    else:
        message = machine_event(kind, uuid=key)
    return message | {"timestamp": at}


def damaged(rng: random.Random, message: dict[str, Any]) -> bytes:
    """The message on the wire, with one to three things wrong."""
    message = copy.deepcopy(message)
    for _ in range(rng.randint(1, 3)):
        place: Any = message
        while True:
            key = rng.choice(list(place) or [""]) if isinstance(place, dict) else None
            if key is None:
                break
            if isinstance(place.get(key), dict) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            what = rng.random()
            if what < 0.25:
                place.pop(key, None)
            elif what < 0.3:
                place[str(rng.choice(JUNK))] = place.get(key)
            else:
                place[key] = copy.deepcopy(rng.choice(JUNK))
            break
    body = enveloped(message) if rng.random() < 0.7 else json.dumps(message).encode()
    if rng.random() < 0.1:
        cut = rng.randrange(len(body))
        body = rng.choice([body[:cut], body[cut:], body[:cut] + b"\xff\x00" + body[cut:]])
    return body


def followed(desk: Any, *others: Any) -> list[Following]:
    """The models of these desks, each with a follower."""
    rows = ComputeModel.from_rows(desk.model.hosts(), desk.model.servers())
    return [
        Following(desk.live, rows, change_of),
        *(
            Following(one.live, elements_of(one.live.messages("")), element_codec.change_of)
            for one in others
        ),
    ]


def main(count: int, seed: int = 1) -> Counter[str]:
    """Runs; how many had which outcome. AssertionError when something broke."""
    rng = random.Random(seed)
    broken: list[dict[str, Any]] = []

    def only_breakage(_logger: Any, method: str, event: Any) -> Any:
        if method in ("error", "exception", "critical"):
            broken.append({**event, "traceback": traceback.format_exc()})
        raise structlog.DropEvent

    structlog.configure(processors=[only_breakage])
    desk = Desk(*(a_host(name) for name in "abc"), *(a_server(key, "a") for key in UUIDS))
    volumes = ElementDesk("storage", cinder_events.dialect({}), PoolRow(name="s@b#p"), named="pool")
    machines = ElementDesk("baremetal", IRONIC)
    inboxes = [desk.inbox, volumes.inbox, machines.inbox]
    desks = followed(desk, volumes, machines)
    room = Mailroom(inboxes)
    before = {name: _count(name) for name in OUTCOMES}
    for step in range(count):
        event = sound(rng, step)
        bodies = [damaged(rng, event)]
        if step % 5 == 0:
            bodies.append(enveloped(sound(rng, step)))
        room.receive(bodies)
        for inbox, following in zip(inboxes, desks, strict=True):
            inbox.wanted.take()
            following.catch_up()
        if broken:
            raise AssertionError(event, broken[0])
        if step % 1000 == 0 or step == count - 1:
            for following in desks:
                following.check(event)
    return Counter({name: int(_count(name) - before[name]) for name in OUTCOMES})


class Following:
    """A model and one that follows its deltas."""

    def __init__(self, live: Any, follower: Any, change_of: Any) -> None:
        self.live = live
        self.follower = follower
        self.change_of = change_of
        self.at = live.model.revision

    def catch_up(self) -> None:
        while (entry := self.live.log.next_after(self.at)) is not None:
            batch = model_pb2.WatchModelResponse.FromString(entry.data or b"").deltas
            for delta in batch.deltas:
                self.follower.apply(map(self.change_of, delta.changes))
            self.at = entry.last

    def check(self, event: Any) -> None:
        model = self.live.model
        model.snapshot()
        if (self.at, self.follower.digest()) != (model.revision, model.digest()):
            raise AssertionError("a follower of the deltas has another model", event)


def _count(outcome: str) -> float:
    return REGISTRY.get_sample_value("trimtab_notifications_total", {"outcome": outcome}) or 0.0


if __name__ == "__main__":
    result = main(*map(int, sys.argv[1:] or ["100000"]))
    sys.stdout.write(f"{sum(result.values())} notifications, none broke anything: {dict(result)}\n")
