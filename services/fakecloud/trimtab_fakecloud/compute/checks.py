"""What Nova checks before it starts anything: the lock, vm_state and task_state."""

from collections.abc import Collection

from trimtab_fakecloud.errors import Conflict
from trimtab_fakecloud.servers import Server, TaskState, VmState
from trimtab_fakecloud.tokens import Token

IDLE: frozenset[TaskState | None] = frozenset({None})


def check_lock(server: Server, caller: Token) -> None:
    """A lock stops all but admins, in Nova.

    Raises:
        Conflict: locked.
    """
    if server.locked and not caller.is_admin:
        raise Conflict(f"Instance {server.id} is locked")


def check_state(
    server: Server,
    action: str,
    vm_states: Collection[VmState],
    task_states: Collection[TaskState | None] = IDLE,
) -> None:
    """The action fits the state.

    Raises:
        Conflict: it does not.
    """
    if server.vm_state not in vm_states:
        raise Conflict(
            f"Cannot '{action}' instance {server.id} while it is in vm_state {server.vm_state}"
        )
    if server.task_state not in task_states:
        raise Conflict(
            f"Cannot '{action}' instance {server.id} while it is in task_state {server.task_state}"
        )
    if server.launched_at is None:
        raise Conflict(f"Instance {server.id} is in an invalid state for '{action}'")
