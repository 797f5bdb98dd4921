"""Build hook: turns protos/ into typed Python modules at import root `trimtab`.

The gateway's template travels with the descriptors that it transcodes by.
The generated code is never committed. It lands in build/gen, goes into the wheel, and is copied
into site-packages by editable installs too; run `make protos` after editing a .proto file.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script by `make protos`, outside a build
    BuildHookInterface = object  # type: ignore[assignment,misc]


def generate(root: Path, out: Path) -> None:
    """Compiles every proto below `root`/protos into `out`, with type stubs."""
    import grpc_tools
    from google import api
    from grpc_tools import protoc

    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    googleapis = Path(next(iter(api.__path__))).parent.parent
    well_known = Path(next(iter(grpc_tools.__path__))) / "_proto"
    sources = sorted(str(p) for p in (root / "protos").rglob("*.proto"))
    bin_dir = Path(sys.executable).parent
    plugins = [
        f"--plugin=protoc-gen-{name}={path}"
        for name in ("mypy", "mypy_grpc")
        if (
            path := shutil.which(f"protoc-gen-{name}", path=str(bin_dir))
            or shutil.which(f"protoc-gen-{name}")
        )
    ]
    paths = [f"-I{root / 'protos'}", f"-I{googleapis}", f"-I{well_known}"]
    arguments = [
        *paths,
        f"--python_out={out}",
        f"--grpc_python_out={out}",
        *plugins,
        *((f"--mypy_out={out}", f"--mypy_grpc_out={out}") if plugins else ()),
        *sources,
    ]
    (out / "trimtab").mkdir(exist_ok=True)
    # What the edge transcodes by. It can only show the details of an error whose messages it knows.
    details = ["google/rpc/error_details.proto", "google/rpc/status.proto"]
    described = [
        *paths,
        f"--descriptor_set_out={out / 'trimtab' / 'descriptors.binpb'}",
        "--include_imports",
        *sources,
        *details,
    ]
    for one in (arguments, described):
        code = protoc.main(["protoc", *one])
        if code:
            raise SystemExit(f"protoc failed with {code}")
    shutil.copy(root / "deploy" / "envoy.yaml.tmpl", out / "trimtab")
    for package in ("trimtab", "inference"):
        if (out / package).is_dir():
            (out / package / "py.typed").touch()


class ProtoBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Generates before each build and adds the result to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002, the interface passes it
        """Fills build/gen and names it in the wheel."""
        root = Path(self.root)
        out = root / "build" / "gen"
        generate(root, out)
        for package in sorted(p for p in out.iterdir() if p.is_dir()):
            build_data["force_include"][str(package)] = package.name


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/gen")
    generate(Path.cwd(), target)
    print(f"generated into {target}")
