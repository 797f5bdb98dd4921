"""The record and the journal: one relational database, reached only through `Store`.

The public surface is `Store` (open one with `open_store(url)`), whose `Session`s are short
transactions. State changes are compare-and-set along `domain.lifecycle`; every save that a
notification describes writes its outbox row in the same transaction.
"""

from trimtab_common.store.overlap import running_plan_beside
from trimtab_common.store.query import Marker, Query
from trimtab_common.store.retry import StoreBusy, StoreUnreachable
from trimtab_common.store.session import Session
from trimtab_common.store.store import Store, open_store

__all__ = [
    "Marker",
    "Query",
    "Session",
    "Store",
    "StoreBusy",
    "StoreUnreachable",
    "open_store",
    "running_plan_beside",
]
