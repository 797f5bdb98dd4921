"""Names that people give to audits and templates. Both faces come here."""

from __future__ import annotations

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Resource


def checked(resource: Resource, name: str | None) -> str:
    """The name; InvalidArgument when there is none, or when it is longer than its column."""
    what = resource.name.replace("_", " ")
    if not name:
        raise InvalidArgument(f"The name of an {what} cannot be empty.")
    bound = resource.by_name["name"].max_length
    if bound is not None and len(name) > bound:
        raise InvalidArgument(f"The name of an {what} has at most {bound} characters.")
    return name
