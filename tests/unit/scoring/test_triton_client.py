"""The unmodified tritonclient against a real server.

It runs in a process of its own: its protos have the names of ours, which one descriptor pool
cannot hold twice.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

UNKNOWN = (
    "Scoring engine nobody could not be found. Known engines: dummy_avg_scorer,"
    " dummy_max_scorer, dummy_min_scorer, dummy_scorer."
)


@pytest.mark.req("B-310", "B-315")
async def test_an_unmodified_triton_client_finds_and_asks_an_engine(scoring_address):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("triton_dialogue.py")),
        scoring_address,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=60)
    assert process.returncode == 0
    seen = json.loads(output)
    scores = [[1, 0, 100, 0, 0], [0, 100, 0, 0, 0]]
    assert seen == {
        "live": True,
        "ready": True,
        "model_ready": True,
        "no_model_ready": False,
        "server": "trimtab-scoring",
        "inputs": [{"name": "features", "datatype": "FP64", "shape": ["-1", "9"]}],
        "index": ["dummy_avg_scorer", "dummy_max_scorer", "dummy_min_scorer", "dummy_scorer"],
        "FP64": scores,
        "FP32": scores,
        "INT64": scores,
        "id": "42",
        "unknown": [
            "StatusCode.NOT_FOUND",
            UNKNOWN,
        ],
    }
