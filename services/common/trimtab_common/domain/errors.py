"""The errors that any service may raise; `runtime` turns them into gRPC and REST answers.

TrimtabError
├── InvalidArgument      the request is wrong whatever the state
│   └── UnknownReference a uuid or name in a body that names nothing
├── NotFound             the resource addressed does not exist
├── AlreadyExists        a unique name or uuid is taken
├── FailedPrecondition   the request is right, the state is not
│   └── StaleModel       the model is older than allowed
├── Conflict             somebody else changed it first, or a resource is busy
├── Unauthenticated
├── PermissionDenied
├── ResourceExhausted
├── Unavailable          something this needs does not answer; try again
├── DeadlineExceeded
└── Bug                  a broken invariant: fatal in tests
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Code(StrEnum):
    """gRPC's status code names, without importing gRPC."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    NOT_FOUND = "NOT_FOUND"
    ALREADY_EXISTS = "ALREADY_EXISTS"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    ABORTED = "ABORTED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"


class TrimtabError(Exception):
    """An error with a text for people, a stable reason for programs and a status code."""

    reason: ClassVar[str] = "INTERNAL"
    code: ClassVar[Code] = Code.INTERNAL

    def __init__(self, message: str, **details: str) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class InvalidArgument(TrimtabError):
    """The request is wrong whatever the state of the system."""

    reason = "INVALID_ARGUMENT"
    code = Code.INVALID_ARGUMENT


class UnknownReference(InvalidArgument):
    """A uuid or name inside a request names nothing."""

    reason = "UNKNOWN_REFERENCE"


class NotFound(TrimtabError):
    """The resource addressed does not exist, or is deleted."""

    reason = "NOT_FOUND"
    code = Code.NOT_FOUND


class AlreadyExists(TrimtabError):
    """A unique name or uuid is taken."""

    reason = "ALREADY_EXISTS"
    code = Code.ALREADY_EXISTS


class FailedPrecondition(TrimtabError):
    """The request is right, the state of the resource does not allow it."""

    reason = "FAILED_PRECONDITION"
    code = Code.FAILED_PRECONDITION


class StaleModel(FailedPrecondition):
    """The model was never built, or is older than allowed."""

    reason = "MODEL_STALE"


class Conflict(TrimtabError):
    """Somebody else changed the resource first, or it is busy."""

    reason = "CONFLICT"
    code = Code.ABORTED


class Unauthenticated(TrimtabError):
    """No token, or one that Keystone does not accept."""

    reason = "UNAUTHENTICATED"
    code = Code.UNAUTHENTICATED


class PermissionDenied(TrimtabError):
    """The policy refuses this to this caller."""

    reason = "PERMISSION_DENIED"
    code = Code.PERMISSION_DENIED


class ResourceExhausted(TrimtabError):
    """A bound is reached: a body too large, a reader too slow."""

    reason = "RESOURCE_EXHAUSTED"
    code = Code.RESOURCE_EXHAUSTED


class Unavailable(TrimtabError):
    """Something that this needs does not answer; trying again later is right."""

    reason = "UNAVAILABLE"
    code = Code.UNAVAILABLE


class DeadlineExceeded(TrimtabError):
    """Something took longer than its deadline; its outcome is unknown."""

    reason = "DEADLINE_EXCEEDED"
    code = Code.DEADLINE_EXCEEDED


class Bug(TrimtabError):
    """A broken invariant. Never caught below the outermost handler."""

    reason = "BUG"
