"""What the cloud refuses.

CloudError
├── BadRequest      400
├── Unauthorized    401
├── Forbidden       403
├── NotFound        404
├── NotAcceptable   406
├── Conflict        409
└── NoValidHost     an operation found no place; 400 if the caller waits for it

ClusterFileError    the file that describes the cloud cannot be used
"""

from typing import ClassVar


class CloudError(Exception):
    """A refusal with the status and the words that the real service uses."""

    status: ClassVar[int] = 500

    @property
    def message(self) -> str:
        """The words."""
        return str(self.args[0])


class BadRequest(CloudError):
    """The request cannot be meant."""

    status = 400


class Unauthorized(CloudError):
    """No good token."""

    status = 401


class Forbidden(CloudError):
    """The token's roles do not allow it."""

    status = 403


class NotFound(CloudError):
    """There is no such thing."""

    status = 404


class NotAcceptable(CloudError):
    """No such microversion."""

    status = 406


class Conflict(CloudError):
    """Not in this state."""

    status = 409


class NoValidHost(CloudError):
    """The scheduler found no host."""

    status = 400


class ClusterFileError(ValueError):
    """The cluster file says something that cannot be; the message names the element."""
