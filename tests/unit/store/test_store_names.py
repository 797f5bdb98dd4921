from __future__ import annotations

from trimtab_common import notify, store


def test_what_the_store_exports_is_what_the_services_were_promised():
    assert set(store.__all__) == {
        *("Marker", "Query", "Session", "Store", "StoreBusy", "StoreUnreachable", "open_store"),
        "running_plan_beside",
    }
    assert set(notify.__all__) == {"Event", "Notifier", "Priority", "is_enabled"}
    public = {name for name in vars(store.Store) if not name.startswith("_")}
    assert public == {
        *("read", "write", "transact", "close", "dialect", "publish_plan"),
        *("cancel_actions_of_plan", "delete_actions_of_plan"),
        *("sweep_actions", "sweep_unpublished"),
    }
