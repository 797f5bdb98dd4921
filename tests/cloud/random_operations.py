"""Random operations on servers, volumes and hosts, as a busy cloud's users and operators do them.

In rounds: in each one some acts are chosen by what state everything is in, and asked for side by
side, at most one on each server and volume; nothing is waited for, so that acts overlap. The same
seed asks for the same kinds, as far as the cloud's own pace allows.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from keystoneauth1.exceptions import ClientException
from openstack.exceptions import SDKException
from random_acts import Act, Tally
from random_hosts import HostActs
from random_servers import NothingToDo, ServerActs
from random_volumes import VolumeActs
from real_cloud import RealCloud
from real_storage import RealStorage

PACE_S = 0.2
SIDE_BY_SIDE = 6
PROBLEMS = (AssertionError, NothingToDo, ClientException, SDKException)
"""How a cloud says that it could not: in an answer, or by giving none."""


class RandomOperations:
    """`run` does so many; `tally` counts them.

    kill_compute: ends and starts again a host's nova-compute, now and then. between: what is to be
    done once so many operations were done.
    """

    def __init__(
        self,
        cloud: RealCloud,
        storage: RealStorage,
        *,
        seed: int,
        kill_compute: Callable[[str], None] | None = None,
        between: Mapping[int, Callable[[], None]] | None = None,
    ) -> None:
        chance = random.Random(seed)
        self._random = chance
        self._between = dict(between or {})
        self._patient = False
        self.servers = ServerActs(cloud, chance, seed)
        self.volumes = VolumeActs(storage, chance, seed)
        self.hosts = HostActs(cloud, chance, seed, kill_compute)
        self.tally = Tally()
        self.problems: list[str] = []

    @property
    def rescued(self) -> int:
        """Servers and volumes that the cloud lost hold of and that were reset."""
        return self.servers.rescued + self.volumes.rescued

    def be_patient(self) -> None:
        """From now on the cloud itself is hurt: what it cannot do is counted as failed."""
        self._patient = self.servers.patient = self.volumes.patient = True

    def run(self, count: int, *, limit_s: float) -> None:
        """Does `count` operations that the cloud accepted; AssertionError past the limit."""
        end = time.monotonic() + limit_s
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            while (done := self.tally.done.total()) < count:
                assert time.monotonic() < end, f"{done} of {count} operations: {self.tally}"
                for at in [n for n in self._between if n <= done]:
                    self._between.pop(at)()
                acts = self._chosen()[: count - done]
                for act, answer in zip(acts, pool.map(_asked, acts), strict=True):
                    if not isinstance(answer, NothingToDo):
                        self._problem(self.tally.take(act, answer))
                time.sleep(PACE_S)
        self.hosts.open_all()

    def settle(self) -> None:
        """Returns when the cloud does nothing to anything of ours."""
        self.servers.settle()
        self.volumes.settle()

    def clean(self) -> None:
        """Away with what was made."""
        self.hosts.open_all()
        self.servers.clean()
        self.volumes.clean()

    def _chosen(self) -> list[Act]:
        try:
            ours = self.servers.ours()
            acts = [
                *self.servers.choose(ours),
                *self.volumes.choose(ours),
                *self.hosts.choose(),
            ]
        except PROBLEMS as error:
            if not self._patient:
                raise
            self.problems.append(f"{type(error).__name__}: {error}"[:200])
            return []
        self._random.shuffle(acts)
        return acts

    def _problem(self, words: str) -> None:
        if words:
            self.problems.append(words[:200])
            assert self._patient, words


def _asked(act: Act) -> Any:
    try:
        return act.ask()
    except PROBLEMS as error:
        return error
