"""Run as `python -m benchmarks [name ...] [--quick] [--json] [--data FOLDER]` from the root."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.growth import Growth
from benchmarks.table import Line, as_data, as_text

NAMES = (
    "index",
    "balanced",
    "prism",
    "features",
    "kmeans",
    "losses",
    "ratings",
    "gradients",
    "instance",
    "ratings_sampling",
    "end_to_end",
    "scaling",
)
PACKAGES = ("numpy", "pyarrow", "msgspec", "torch", "transformers")


def main() -> None:
    """Run the benchmarks named, or all of them, and print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="*", choices=[*NAMES, []], help="default: all of them")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute")
    parser.add_argument("--json", action="store_true", help="print data instead of a table")
    parser.add_argument("--data", type=Path, default=Path("bench-data"), help="generated files")
    given = parser.parse_args()
    given.data.mkdir(parents=True, exist_ok=True)
    lines: list[Line | Growth] = []
    for name in given.name or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        lines += importlib.import_module(f"benchmarks.{name}").run(given.data, given.quick)
    print(
        json.dumps(as_data(lines), indent=1) if given.json else f"{machine()}\n\n{as_text(lines)}"
    )


def machine() -> str:
    """Return what the figures depend on: cores, memory, versions."""
    return ", ".join([*_hardware(), f"Python {platform.python_version()}", *_versions()])


def _hardware() -> list[str]:
    pages = os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    memory = [f"{pages * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"] if pages else []
    return [platform.machine(), f"{os.cpu_count()} cores", *memory]


def _versions() -> list[str]:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            found.append(f"no {package}")
    return found


if __name__ == "__main__":
    main()
