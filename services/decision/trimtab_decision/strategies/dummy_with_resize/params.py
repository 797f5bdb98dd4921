"""Parameters of dummy_with_resize: those of dummy (B-081)."""

from __future__ import annotations

from trimtab_decision.strategies.dummy.params import SCHEMA

__all__ = ["SCHEMA"]
