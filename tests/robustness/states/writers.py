"""Eight writers, each a replica of a service in a thread with its own loop and connections.

Three are api and do at random, through REST, whatever a client could ask for, allowed or not; two
are decision, two applier, and one is the syncer with the upkeep. Decision and applier stop and come
back all the time; one of each resumes what it finds, the other cancels it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from api_writer import ApiWriter, Tally

from trimtab_applier.actions import ActionTypes, load_action_types
from trimtab_applier.actions.sleep import Sleep
from trimtab_applier.dispatcher import Dispatcher
from trimtab_applier.settings import ApplierSettings
from trimtab_applier.settings import OnRestart as ApplierOnRestart
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.lifecycle import AuditType
from trimtab_common.domain.records import Action, ActionPlan, Audit
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.store import Session, Store, open_store
from trimtab_decision import upkeep
from trimtab_decision.audits import AuditRunner
from trimtab_decision.claims import Claims
from trimtab_decision.continuous import ContinuousAudits
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.goals import GOALS
from trimtab_decision.plugins import PLANNERS
from trimtab_decision.recommendation import Recommendation, plan_uuid
from trimtab_decision.settings import DecisionSettings, OnRestart
from trimtab_decision.syncer import Syncer


def strategy(name: str, shown: str) -> type[Strategy]:
    class Made(Strategy):
        goal_name = "dummy"
        display_name = shown

        def do_execute(self, context: Any, solution: Any) -> None:
            raise NotImplementedError

    Made.name = name
    return Made


def registry(turn: int) -> Registry:
    """Strategy `often` has changed at each turn; `dummy` never does."""
    made = [strategy("dummy", "Dummy"), strategy("often", f"Often {turn}")]
    return Registry(goals=GOALS, strategies=made, planners=PLANNERS)


class NoEngines:
    async def engines(self) -> list[Any]:
        return []


class Improviser:
    """Stands where the recommender stands: any plan, none, or an error."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def recommend(self, audit: Audit) -> Recommendation:
        await asyncio.sleep(self._random.uniform(0, 0.02))
        dice = self._random.random()
        if dice < 0.1:
            raise TrimtabError("The strategy failed, as it was to.")
        actions = () if dice < 0.2 else tuple(self._actions())
        plan = ActionPlan(
            uuid=plan_uuid(audit), audit_id=audit.id, strategy_id=audit.strategy_id or 1
        )
        return Recommendation(plan=plan, actions=actions)

    def _actions(self) -> list[Action]:
        made: list[Action] = []
        for _ in range(self._random.randint(1, 3)):
            kind, parameters = self._random.choice(
                [
                    ("nop", {"message": "m"}),
                    ("nop", {"message": "m", "skip_pre_condition": True}),
                    ("nop", {"message": "m", "fail_pre_condition": True}),
                    ("nop", {"message": "m", "fail_execute": True}),
                    ("nop", {"message": "m", "resource_id": f"r{self._random.randrange(3)}"}),
                    ("sleep", {"duration": 0.0}),
                    ("sleep", {"duration": 0.2}),
                    ("sleep", {"duration": 2.0}),
                    ("sleep", {"duration": 2.0}),
                    ("stubborn", {"duration": 2.0}),
                    ("hasty", {"duration": 2.0}),
                ]
            )
            parents = (made[-1].uuid,) if made and self._random.random() < 0.4 else ()
            if self._random.random() < 0.02:
                parents = (str(uuid4()),)  # no graph: the plan cannot start
            made.append(
                Action(
                    uuid=str(uuid4()),
                    action_plan_id=0,
                    action_type=kind,
                    input_parameters=parameters,
                    parents=parents,
                )
            )
        return made


class Stubborn(Sleep):
    """It cannot be aborted, although it says so."""

    action_type = "stubborn"

    async def abort(self) -> bool:
        raise RuntimeError("it goes on")


class Hasty(Sleep):
    """It was done before the abort came."""

    action_type = "hasty"

    async def abort(self) -> bool:
        return False


class DecisionWriter:
    """Runs audits; stops in the middle and begins again."""

    def __init__(self, store: Store, tally: Tally, seed: int) -> None:
        self._store = store
        self._tally = tally
        self._seed = seed
        self._random = random.Random(seed)

    async def run(self) -> None:
        while not self._tally.ended.is_set():
            await self._one_life()

    async def _one_life(self) -> None:
        clock = SystemClock()
        settings = DecisionSettings(
            host=f"decision-{self._seed}",
            max_audit_workers=4,
            sweep_interval_s=0.1,
            lease_s=4.0,
            on_restart=OnRestart.CANCEL if self._seed % 2 else OnRestart.RESUME,
        )

        async def wake(_uuid: str) -> None: ...

        runner = AuditRunner(
            store=self._store,
            claims=Claims(store=self._store, settings=settings, clock=clock, owner=f"{uuid4()}"),
            recommender=Improviser(self._random.randrange(2**31)),  # type: ignore[arg-type]
            wake_plan=wake,
            clock=clock,
            settings=settings,
        )
        continuous = ContinuousAudits(
            store=self._store, runner=runner, clock=clock, settings=settings
        )

        async def look() -> None:
            while True:
                with contextlib.suppress(TrimtabError):
                    await continuous.look()
                await asyncio.sleep(0.2)

        async def sweep() -> None:
            while True:
                with contextlib.suppress(TrimtabError):
                    await runner.follow()
                await asyncio.sleep(0.1)

        tasks = [asyncio.create_task(look()), asyncio.create_task(sweep())]
        await until(self._tally.ended, self._random.uniform(0.5, 3.0))
        await stopped(tasks)
        await runner.close()


class ApplierWriter:
    """Carries plans out; stops in the middle and begins again."""

    def __init__(self, store: Store, tally: Tally, seed: int) -> None:
        self._store = store
        self._tally = tally
        self._seed = seed
        self._random = random.Random(seed)

    async def run(self) -> None:
        own = {plugin.action_type: plugin for plugin in (Stubborn, Hasty)}
        types = ActionTypes({**load_action_types().by_name, **own})
        cancels = self._seed % 2
        settings = ApplierSettings(
            host=f"applier-{self._seed}",
            workers=6,
            max_workers=3,
            sweep_every_s=0.1,
            cancel_poll_s=0.2,
            on_restart=ApplierOnRestart.CANCEL if cancels else ApplierOnRestart.RESUME,
        )
        while not self._tally.ended.is_set():
            dispatcher = Dispatcher(
                store=self._store,
                clock=SystemClock(),
                nova=None,  # type: ignore[arg-type]
                types=types,
                settings=settings,
                owner=f"{uuid4()}",
            )
            task = asyncio.create_task(dispatcher.run())
            await until(self._tally.ended, self._random.uniform(0.5, 3.0))
            await stopped([task])


class Keeper:
    """Syncs changed strategies, expires plans, finishes what is left over.

    It also leaves audits as another release may have stored them: with an interval that this one
    refuses.
    """

    def __init__(self, store: Store, tally: Tally, seed: int) -> None:
        self._store = store
        self._tally = tally
        self._random = random.Random(seed)

    async def run(self) -> None:
        clock = SystemClock()
        later = SimpleNamespace(now=lambda: datetime.now(UTC) + timedelta(hours=2))
        settings = DecisionSettings(host="decision-1", action_plan_expiry_h=2)
        for turn in itertools.count(1):
            if self._tally.ended.is_set():
                return
            await until(self._tally.ended, self._random.uniform(1.0, 3.0))
            with contextlib.suppress(TrimtabError):
                await upkeep.expire_plans(self._store, settings=settings, clock=later)  # type: ignore[arg-type]
                await upkeep.remove_leftovers(self._store, clock=clock)
                await sync(self._store, turn)
                await self._store.transact(self._leave_a_wrong_interval)

    async def _leave_a_wrong_interval(self, session: Session) -> None:
        goal = await session.goals.get("dummy")
        name = f"old-{uuid4()}"
        await session.audits.create(
            Audit(
                uuid=str(uuid4()),
                name=name,
                audit_type=AuditType.CONTINUOUS,
                goal_id=goal.id,
                interval="now and then",
            )
        )


async def sync(store: Store, turn: int) -> None:
    syncer = Syncer(
        store=store,
        registry=registry(turn),
        scoring=NoEngines(),
        settings=DecisionSettings(host="decision-1"),
        clock=SystemClock(),
        owner=f"{uuid4()}",
    )
    await syncer.sync()


async def until(ended: threading.Event, most_s: float) -> None:
    """Waits so long, or until all is over."""
    end = asyncio.get_running_loop().time() + most_s
    while not ended.is_set() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110, of threads
        await asyncio.sleep(0.05)


async def stopped(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


ROLES = [ApiWriter] * 3 + [DecisionWriter] * 2 + [ApplierWriter] * 2 + [Keeper]


def run_all(url: str, tally: Tally, seed: int, limit_s: float) -> None:
    """All eight until so many requests were sent, or the time is over."""

    async def one(role: Any, number: int) -> None:
        store = await open_store(url, host=f"node-{number}")
        try:
            await role(store, tally, seed * 100 + number).run()
        except Exception as error:  # noqa: BLE001, a thread's error must fail the test
            tally.broken.append(f"{role.__name__}: {error!r}")
            tally.ended.set()
        finally:
            await store.close()

    threads = [
        threading.Thread(target=lambda r=role, n=n: asyncio.run(one(r, n)), name=role.__name__)
        for n, role in enumerate(ROLES)
    ]
    for thread in threads:
        thread.start()
    if not tally.ended.wait(limit_s):
        tally.broken.append(f"only {sum(tally.sent.values())} requests in {limit_s:.0f} s")
        tally.ended.set()
    for thread in threads:
        thread.join(60)
        if thread.is_alive():
            tally.broken.append(f"{thread.name} does not stop")
