"""Microversion negotiation by header, as Nova and Placement do it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trimtab_fakecloud.errors import BadRequest, NotAcceptable

Version = tuple[int, int]
_PATTERN = re.compile(r"([1-9]\d*)\.([1-9]\d*|0)")


def text(version: Version) -> str:
    """As in headers."""
    return f"{version[0]}.{version[1]}"


@dataclass(frozen=True, slots=True)
class Microversions:
    """The range of one service."""

    service_type: str
    minimum: Version
    maximum: Version
    legacy_header: str | None = None

    def negotiate(self, headers: Mapping[str, str]) -> Version:
        """The version that the request wants; the minimum if it does not say.

        Raises:
            BadRequest: it is no version.
            NotAcceptable: it is out of range.
        """
        wanted = self._wanted(headers)
        if wanted is None:
            return self.minimum
        if wanted == "latest":
            return self.maximum
        match = _PATTERN.fullmatch(wanted)
        if match is None:
            raise BadRequest(
                f"API Version String {wanted} is of invalid format. "
                "Must be of format MajorNum.MinorNum."
            )
        version = int(match[1]), int(match[2])
        if not self.minimum <= version <= self.maximum:
            raise NotAcceptable(
                f"Version {wanted} is not supported by the API. Minimum is "
                f"{text(self.minimum)} and maximum is {text(self.maximum)}."
            )
        return version

    def headers(self, version: Version) -> dict[str, str]:
        """What the answer says of it."""
        said = {"OpenStack-API-Version": f"{self.service_type} {text(version)}"}
        vary = ["OpenStack-API-Version"]
        if self.legacy_header:
            said[self.legacy_header] = text(version)
            vary.append(self.legacy_header)
        return {**said, "Vary": ", ".join(vary)}

    def _wanted(self, headers: Mapping[str, str]) -> str | None:
        for part in headers.get("openstack-api-version", "").split(","):
            service, _, version = part.strip().partition(" ")
            if service.lower() == self.service_type and version:
                return version.strip()
        return headers.get(self.legacy_header) if self.legacy_header else None
