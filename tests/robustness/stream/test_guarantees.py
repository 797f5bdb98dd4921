"""The validators find what they are for: each breach, put into a good history, is named."""

from __future__ import annotations

import dataclasses

import pytest
from guarantees import (
    ATOMIC,
    BOOKMARKABLE,
    ORDERED,
    RELIABLE,
    RESUMABLE,
    UNIQUE,
    Promise,
    judge,
)
from histories import Change, Content, Delta, Event, History, Link, Message

PROMISE = Promise(ring=10)


def delta(revision, weight=None):
    change = Change(("server", str(revision)), (revision,), weight or revision)
    return Delta(revision, f"print {revision} {weight}".encode(), (change,))


class Told:
    """A watcher that keeps a good history."""

    def __init__(self, name="w", epoch="e"):
        self.history = History(name)
        self.epoch = epoch
        self.content = Content()
        self.revision = 0

    @property
    def events(self):
        return self.history.links[-1].events

    def call(self, token=""):
        self.history.links.append(Link(token, ended="cut"))
        return self

    def message(self, kind, **fields):
        token = f"{self.epoch}/{self.revision}"
        return Message(kind, token, self.epoch, self.revision, **fields)

    def snapshot(self, reason="initial", *, revision=None, rows=None):
        self.revision = self.revision if revision is None else revision
        head = self.message("begin", reason=reason, hosts=0, servers=len(self.content.rows))
        self.events.append(Event(dataclasses.replace(head, token="half")))
        digest = self.content.digest
        rows = len(self.content.rows) if rows is None else rows
        end = Event(self.message("end", digest=digest), own_digest=digest, own_rows=rows)
        self.events.append(end)
        return self

    def deltas(self, *revisions, weight=None):
        found = tuple(delta(revision, weight) for revision in revisions)
        for one in found:
            self.content.apply(one)
        self.revision = revisions[-1]
        self.events.append(Event(self.message("deltas", deltas=found)))
        return self

    def beat(self, **fields):
        digest = self.content.digest
        message = dataclasses.replace(self.message("beat", digest=digest), **fields)
        self.events.append(Event(message, own_digest=digest))
        return self


def begun():
    return Told().call().snapshot().deltas(1, 2).beat()


def breaches(*watchers):
    verdict = judge([watcher.history for watcher in watchers], PROMISE)
    return {breach.guarantee for breach in verdict.breaches}


def test_a_good_history_has_no_breach():
    good = begun().deltas(3).call("e/2").deltas(3, 4).beat().call("e/4").beat()
    good.call("e/4").snapshot("token_too_old", revision=14).deltas(15)
    good.call("half").snapshot("token_too_old", revision=16)
    other = Told("other").call().snapshot().deltas(1).deltas(2, 3)
    assert breaches(good, other) == set()


@pytest.mark.parametrize(
    ("guarantee", "watcher"),
    [
        (UNIQUE, begun().deltas(2)),
        (ORDERED, begun().deltas(1)),
        (RELIABLE, begun().deltas(4)),
        (RELIABLE, Told().call().deltas(1)),
        (RESUMABLE, begun().call("e/2").deltas(4)),
        (UNIQUE, begun().call("e/2").deltas(2)),
        (RESUMABLE, begun().call("e/2").snapshot("token_too_old", revision=4)),
        (RESUMABLE, begun().call("e/2").snapshot("epoch_changed", revision=4)),
        (RESUMABLE, begun().call("e/2").snapshot("initial", revision=4)),
        (RESUMABLE, begun().snapshot("large_change", revision=1)),
        (RESUMABLE, begun().call("unheard").snapshot("token_too_old")),
        (BOOKMARKABLE, begun().beat(revision=3)),
        (BOOKMARKABLE, begun().beat(revision=1)),
        (BOOKMARKABLE, begun().beat(digest="another")),
        (ATOMIC, begun().call().snapshot(rows=1)),
    ],
)
def test_a_breach_is_found_under_its_name(guarantee, watcher):
    assert guarantee in breaches(watcher)


def test_a_revision_that_two_watchers_hear_differently_is_not_atomic():
    assert breaches(begun().deltas(3), begun().deltas(3, weight=9)) == {ATOMIC}


def test_a_delta_inside_a_snapshot_and_a_snapshot_without_an_end_are_not_atomic():
    torn = begun().call().snapshot()
    torn.events[-1:-1] = [Event(torn.message("deltas", deltas=(delta(1),)))]
    assert ATOMIC in breaches(torn)
    cut = begun().call().snapshot()
    cut.events.pop()
    cut.history.links[-1].ended = "EOF"
    assert ATOMIC in breaches(cut)


def test_half_a_snapshot_must_not_be_resumed_with_deltas():
    assert RELIABLE in breaches(begun().call("half").deltas(3)) | breaches(
        begun().call().snapshot().call("half").deltas(3)
    )
