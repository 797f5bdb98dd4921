"""The one pool of threads in which a process waits for others (B-065, B-066).

`main` makes it and hands it to whoever makes blocking calls: the session with the cloud, and plug-ins.
Its size is `[watcher_decision_engine] max_general_workers`, whatever the number of audit workers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, MutableSequence, MutableSet
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

DEFAULT_WORKERS = 4
T = TypeVar("T")


class GeneralPool(ThreadPoolExecutor):
    """`submit(call, *arguments, **options)` gives a future; the rest takes what is done as it comes.

    Both `do_while_futures` block: they are for code that runs in a thread, never for the event loop, and
    not for a thread of this pool, which would wait for work behind itself.

    >>> pool = GeneralPool(2)
    >>> found = []
    >>> squares = [pool.submit(pow, n, 2) for n in (1, 2, 3)]
    >>> pool.do_while_futures(squares, lambda done: found.append(done.result()))
    >>> sorted(found)
    [1, 4, 9]
    >>> pool.shutdown()
    """

    def __init__(self, workers: int = DEFAULT_WORKERS) -> None:
        super().__init__(workers, thread_name_prefix="general")
        self.workers = workers

    @classmethod
    def do_while_futures(
        cls,
        futures: Collection[Future[T]],
        fn: Callable[..., object],
        /,
        *args: Any,
        futures_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Calls `fn(future, ...)` for each as it completes; the collection is left as it is.

        A list, a set, or a dictionary whose keys are the futures. futures_timeout: seconds to wait for the
        next one; when none is done in that time the rest is cancelled and this returns. What `fn`
        raises ends it.
        """
        cls._each(list(futures), fn, futures_timeout, *args, **kwargs)

    @classmethod
    def do_while_futures_modify(
        cls,
        futures: MutableSequence[Future[T]] | MutableSet[Future[T]] | dict[Future[T], Any],
        fn: Callable[..., object],
        /,
        *args: Any,
        futures_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        """The same; each future is taken out of the collection when its turn has come."""

        def taken(future: Future[T]) -> None:
            if isinstance(futures, dict):
                del futures[future]
            else:
                futures.remove(future)
            fn(future, *args, **kwargs)

        cls._each(list(futures), taken, futures_timeout)

    @staticmethod
    def _each(
        futures: list[Future[T]],
        fn: Callable[..., object],
        timeout_s: float | None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, timeout_s, FIRST_COMPLETED)
            if not done:
                for future in waiting:
                    future.cancel()
                return
            for future in done:
                fn(future, *args, **kwargs)
