"""Alembic's scripts, packaged; `trimtab_common.store.migrate` runs them."""
