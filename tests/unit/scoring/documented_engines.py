"""The code of docs/scoring.md, laid out as somebody who follows the page would have it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "scoring.md"
_BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ANNOUNCED = re.compile(
    r"^```toml\n\[project\.entry-points\.(\S+)\]\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks() -> dict[str, str]:
    """Program texts of the page by file name."""
    return dict(_BLOCK.findall(PAGE.read_text(encoding="utf-8")))


def train(folder: Path) -> None:
    """Runs the page's training: leaves noisy_v1.onnx and expected.npz in the folder."""
    program = folder / "train.py"
    program.write_text(blocks()["train.py"], encoding="utf-8")
    subprocess.run([sys.executable, program, folder], check=True, timeout=110)


def install(site: Path) -> Path:
    """Puts the page's distribution where `site` is on the path; gives its metadata folder."""
    group, entries = _ANNOUNCED.search(PAGE.read_text(encoding="utf-8")).groups()
    (site / "onnx_engines.py").write_text(blocks()["onnx_engines.py"], encoding="utf-8")
    staged = site / "staged"
    staged.mkdir()
    (staged / "METADATA").write_text("Metadata-Version: 2.1\nName: onnx-engines\nVersion: 1.0\n")
    entries = entries.replace('"', "")
    (staged / "entry_points.txt").write_text(f"[{group}]\n{entries}", encoding="utf-8")
    return staged.rename(site / "onnx_engines-1.0.dist-info")


def remove(installed: Path) -> None:
    """As `pip uninstall` would."""
    shutil.rmtree(installed)
