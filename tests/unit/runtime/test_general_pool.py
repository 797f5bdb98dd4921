"""The general pool: its size, and how what is done is taken (B-065, B-066)."""

from __future__ import annotations

import threading

import pytest

from trimtab_common.runtime.general_pool import GeneralPool

COLLECTIONS = {
    "list": list,
    "set": set,
    "dict": lambda futures: {future: n for n, future in enumerate(futures)},
}


@pytest.fixture
def pool():
    made = GeneralPool(4)
    yield made
    made.shutdown(cancel_futures=True)


@pytest.mark.req("B-065")
@pytest.mark.parametrize("workers", [1, 4])
def test_no_more_calls_run_at_once_than_there_are_workers(workers):
    lock, gate = threading.Lock(), threading.Event()
    running, most = 0, 0

    def call():
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == workers:
                gate.set()
        gate.wait(10)
        with lock:
            running -= 1

    with GeneralPool(workers) as pool:
        for future in [pool.submit(call) for _ in range(12)]:
            future.result(10)
    assert most == workers


@pytest.mark.req("B-066")
def test_a_future_gives_what_the_call_gave_or_raised(pool):
    assert pool.submit(pow, 2, exp=5).result(10) == 32
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(10)


@pytest.mark.req("B-066")
@pytest.mark.parametrize("kind", COLLECTIONS)
def test_each_is_taken_once_and_the_callers_collection_is_left_as_it_is(pool, kind):
    futures = COLLECTIONS[kind]([pool.submit(pow, n, 2) for n in range(9)])
    before, found = type(futures)(futures), []
    pool.do_while_futures(
        futures, lambda done, add, *, sign: found.append(sign * done.result() + add), 1, sign=-1
    )
    assert sorted(found, reverse=True) == [1 - n * n for n in range(9)]
    assert futures == before


@pytest.mark.req("B-066")
@pytest.mark.parametrize("kind", COLLECTIONS)
def test_the_modifying_one_takes_each_out_when_its_turn_has_come(pool, kind):
    futures = COLLECTIONS[kind]([pool.submit(pow, n, 2) for n in range(9)])
    left = []
    pool.do_while_futures_modify(futures, lambda _done: left.append(len(futures)))
    assert left == list(range(8, -1, -1))
    assert not futures


@pytest.mark.req("B-066")
def test_what_is_done_first_is_taken_first(pool):
    gates = [threading.Event() for _ in range(3)]
    futures = {pool.submit(gate.wait, 10): n for n, gate in enumerate(gates)}
    order = []

    def take(done):
        order.append(futures[done])
        if len(order) < 3:
            gates[{2: 0, 0: 1}[order[-1]]].set()

    gates[2].set()
    pool.do_while_futures(futures, take)
    assert order == [2, 0, 1]


@pytest.mark.req("B-066")
@pytest.mark.parametrize("modify", [False, True])
def test_when_nothing_is_done_in_time_the_rest_is_cancelled(modify):
    gate, taken = threading.Event(), []
    with GeneralPool(1) as pool:
        running, *waiting = [pool.submit(gate.wait, 10) for _ in range(3)]
        futures = [running, *waiting]
        take = pool.do_while_futures_modify if modify else pool.do_while_futures
        take(futures, taken.append, futures_timeout=0.05)
        assert taken == []
        assert futures == [running, *waiting]
        assert [future.cancelled() for future in waiting] == [True, True]
        gate.set()
    assert running.result(10)
