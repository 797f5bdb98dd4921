"""Damaged notifications break nothing; `make fuzz-notifications` feeds 100,000 of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent / "notification_fuzz.py"


@pytest.mark.req("C-065")
def test_three_thousand_damaged_notifications_break_nothing():
    ran = subprocess.run(
        [sys.executable, str(TOOL), "3000", "7"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "none broke anything" in ran.stdout
