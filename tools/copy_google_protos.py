"""Lays google/api and google/rpc protos where buf finds them, without a network.

They come out of the googleapis-common-protos wheel that the build uses too, so that lint and
build see the same definitions. `make check` runs it; the copy lives in build/ and is not committed.
"""

from __future__ import annotations

import shutil
import sys
from importlib import resources
from pathlib import Path


def copy(target: Path) -> list[Path]:
    """Replaces `target` by the protos of google/api and google/rpc; returns what it wrote."""
    shutil.rmtree(target, ignore_errors=True)
    written = []
    for package in ("api", "rpc"):
        folder = target / "google" / package
        folder.mkdir(parents=True)
        for source in resources.files(f"google.{package}").iterdir():
            if source.name.endswith(".proto"):
                written.append(folder / source.name)
                written[-1].write_bytes(source.read_bytes())
    if not written:
        raise SystemExit("the googleapis-common-protos wheel holds no .proto files")
    return written


if __name__ == "__main__":
    copy(Path(sys.argv[1]))
