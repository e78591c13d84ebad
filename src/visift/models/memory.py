"""The most memory that this process has held: of a GPU where it uses one, else of the machine."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc/self")


def forget_peak() -> None:
    """Begin anew, where the system lets us; elsewhere peaks are those of the whole process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):
        (_PROC / "clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Return bytes: allocated on the GPU that holds most, or resident; None where nobody counts."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        devices = range(torch.cuda.device_count())
        return max(int(torch.cuda.max_memory_allocated(device)) for device in devices)
    with suppress(OSError, StopIteration, ValueError):
        lines = (_PROC / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
