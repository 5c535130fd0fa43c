"""Generate the Python of proto/ beside the .proto files, with types: `make proto`."""

import sys
from pathlib import Path

from grpc_tools import protoc

PROTO = Path(__file__).parent.parent / "proto"


def main() -> int:
    """Write `*_pb2.py`, `*_pb2_grpc.py` and their stubs; exit status of protoc."""
    import grpc_tools

    bundled = Path(grpc_tools.__file__).parent / "_proto"
    sources = sorted(PROTO.rglob("*.proto"))
    services = [path for path in sources if "\nservice " in path.read_text(encoding="utf-8")]
    return run(sources, bundled, "python", "mypy") or run(services, bundled, "grpc_python", "mypy_grpc")


def run(sources: list[Path], bundled: Path, *outputs: str) -> int:
    """Run protoc with the named output plug-ins."""
    files = [str(path.relative_to(PROTO)) for path in sources]
    return int(
        protoc.main(["protoc", f"-I{PROTO}", f"-I{bundled}", *(f"--{name}_out={PROTO}" for name in outputs), *files])
    )


if __name__ == "__main__":
    sys.exit(main())
