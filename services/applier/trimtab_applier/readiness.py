"""Before the first plan: is this a Nova that the actions can work with (B-231, C-163)?

Until it answers, plans wait in the record and the service says NOT_SERVING. One that is too old ends the
process: nothing is half done on a cloud that would refuse the second half.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from trimtab_common.domain.errors import FailedPrecondition, TrimtabError
from trimtab_common.openstack.nova_writes import NovaWrites
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
RETRY_AFTER_S = (1.0, 2.0, 5.0, 10.0)


async def until_usable(
    nova: NovaWrites, clock: Clock, report: Callable[[bool], Awaitable[None]]
) -> None:
    """Returns when Nova answers and is new enough; reports False, and logs why, while it does not.

    Raises:
        FailedPrecondition: it is too old.
    """
    tries = 0
    while True:
        try:
            await nova.check()
        except FailedPrecondition:
            await report(False)
            raise
        except TrimtabError as error:
            pause_s = RETRY_AFTER_S[min(tries, len(RETRY_AFTER_S) - 1)]
            tries += 1
            await report(False)
            log.warning("plans wait for Nova", problem=error.message, again_after_s=pause_s)
            await clock.sleep(pause_s)
        else:
            if tries:
                await report(True)
                log.info("Nova answers, plans are carried out")
            return
