"""What each resource looks like from outside: one description that every face and table obeys.

On the main path: `api` renders and validates by it, the store sorts by it, and a test proves that
the protobuf messages, the tables and the records agree with it. Requirements A §1.3, §2, §3, §4.

    AUDITS.listed(minor=4)      the fields of the short list at microversion 1.4
    AUDITS.detailed(minor=4)    the fields of show, create and PATCH answers
    AUDITS.sort_keys            what the store sorts by
    AUDITS.page_sort_keys       what is sorted within the page only (joined names)
"""

from __future__ import annotations

from trimtab_common.domain.fields import (
    Below,
    Field,
    Ident,
    JsonType,
    Kept,
    Resource,
    Shown,
    Since,
)
from trimtab_common.domain.resources.action_plans import ACTION_PLANS, ACTIONS
from trimtab_common.domain.resources.audits import AUDIT_TEMPLATES, AUDITS
from trimtab_common.domain.resources.catalog import GOALS, SCORING_ENGINES, SERVICES, STRATEGIES
from trimtab_common.domain.resources.data_model import (
    BAREMETAL_MODEL,
    DATA_MODEL,
    STORAGE_MODEL,
)

__all__ = [
    "ACTIONS",
    "ACTION_PLANS",
    "AUDITS",
    "AUDIT_TEMPLATES",
    "BAREMETAL_MODEL",
    "BY_PLURAL",
    "DATA_MODEL",
    "GOALS",
    "MAX_MINOR",
    "SCORING_ENGINES",
    "SERVICES",
    "STORAGE_MODEL",
    "STORED",
    "STRATEGIES",
    "Below",
    "Field",
    "Ident",
    "JsonType",
    "Kept",
    "Resource",
    "Shown",
    "Since",
]

STORED = (
    GOALS,
    STRATEGIES,
    AUDIT_TEMPLATES,
    AUDITS,
    ACTION_PLANS,
    ACTIONS,
    SCORING_ENGINES,
    SERVICES,
)
"""The resources that have a table, parents before children."""
MAX_MINOR: int = max(
    *Since,
    *(
        field.since
        for resource in (*STORED, DATA_MODEL, STORAGE_MODEL, BAREMETAL_MODEL)
        for field in resource.fields
    ),
)
"""The highest microversion is 1.MAX_MINOR."""
BY_PLURAL = {resource.plural: resource for resource in STORED}
