"""Compile the .proto files beside this module into `*_pb2.py` and `*_pb2.pyi`.

Run by the build hook (`hatch_build.py` at the repository's root, which loads this file by path) and by hand:

    python -m sixhops.wire.proto.compile          # needs grpcio-tools; says what it wrote
    python -m sixhops.wire.proto.compile --check  # exit status 1 when something is out of date

It must import nothing of sixhops: in an isolated build the package's dependencies are not installed.
"""

from __future__ import annotations

import importlib
import importlib.resources
import sys
from pathlib import Path

__all__ = ["compile_all", "generated", "main", "sources", "stale"]

HERE = Path(__file__).resolve().parent
PACKAGE_ROOT = HERE.parents[2]  # holds the package `sixhops`; import paths in .proto files start here


def sources() -> list[Path]:
    """Return the .proto files, sorted by name."""
    return sorted(HERE.glob("*.proto"))


def generated() -> list[Path]:
    """Return the paths of the modules and stubs that `compile_all` writes, whether they exist or not."""
    return [path.with_name(f"{path.stem}_pb2{suffix}") for path in sources() for suffix in (".py", ".pyi")]


def stale() -> list[Path]:
    """Return the generated files that are missing or older than their source."""
    found = []
    for source in sources():
        for suffix in (".py", ".pyi"):
            target = source.with_name(f"{source.stem}_pb2{suffix}")
            if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
                found.append(target)
    return found


def compile_all() -> list[Path]:
    """Compile every source and return what was written; RuntimeError when protoc refuses a file."""
    # by name, because it is a build tool without type stubs that is absent where the package only runs
    protoc = importlib.import_module("grpc_tools.protoc")
    standard = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [
        "protoc",
        f"-I{PACKAGE_ROOT}",
        f"-I{standard}",
        f"--python_out={PACKAGE_ROOT}",
        f"--pyi_out={PACKAGE_ROOT}",
        *(str(source) for source in sources()),
    ]
    status = protoc.main(arguments)
    if status != 0:
        raise RuntimeError(f"protoc ended with status {status} for {HERE}")
    for stub in (path for path in generated() if path.suffix == ".pyi"):
        # protoc leaves the parameters of Mapping out, which `mypy --strict` refuses
        stub.write_text(stub.read_text().replace("_Mapping]", "_Mapping[str, object]]"))
    return generated()


def main(arguments: list[str] | None = None) -> int:
    """Compile, or only check with `--check`; return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if words not in ([], ["--check"]):
        sys.stderr.write("usage: python -m sixhops.wire.proto.compile [--check]\n")
        return 2
    if words:
        old = stale()
        sys.stdout.writelines(f"stale: {path}\n" for path in old)
        return 1 if old else 0
    sys.stdout.writelines(f"{path}\n" for path in compile_all())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
