"""The unmodified tritonclient against a real server.

It runs in an environment and a process of its own: it pins protobuf below 7, and its protos have
the names of ours, which one descriptor pool cannot hold twice.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

PYTHON = Path(
    os.environ.get("TRIMTAB_TRITON_PYTHON")
    or Path(__file__).parents[3] / "build" / "triton" / "bin" / "python"
)
INSTALLED = PYTHON.exists()
UNKNOWN = (
    "Scoring engine nobody could not be found. Known engines: dummy_avg_scorer,"
    " dummy_max_scorer, dummy_min_scorer, dummy_scorer."
)


@pytest.mark.req("B-310", "B-315")
async def test_an_unmodified_triton_client_finds_and_asks_an_engine(scoring_address):
    if not INSTALLED:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no tritonclient environment at {PYTHON}")
        pytest.skip("no tritonclient environment; `make triton` makes it")
    process = await asyncio.create_subprocess_exec(
        str(PYTHON),
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
