"""Another process that trains: started, heard, and never left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from visift.errors import TrainingError
from visift.training.job import Step

LOG = "log.txt"
_WORKER = "visift.training.worker"
_LEAVE_SECONDS = 5.0
_LAST_LINES = 5
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def command(folder: Path, processes: int) -> list[str]:
    """Return the command line that does the job in a folder, on so many devices of one machine."""
    worker = [sys.executable, "-m", _WORKER, str(folder)]
    if processes == 1:
        return worker
    how = ["--multi_gpu", "--num_machines", "1", "--num_processes", str(processes)]
    how += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    return [sys.executable, "-m", "accelerate.commands.launch", *how, "-m", *worker[2:]]


def environment(devices: Sequence[str], base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process that uses some devices."""
    # A file of the working folder must not be taken for a package.
    made = {**base, "PYTHONSAFEPATH": "1"}
    if devices[0].startswith("cuda"):
        seen = base.get("CUDA_VISIBLE_DEVICES", "")
        names = seen.split(",") if seen else None
        numbers = [int(device.partition(":")[2] or 0) for device in devices]
        chosen = [names[n] if names else str(n) for n in numbers]
        return made | {"CUDA_VISIBLE_DEVICES": ",".join(chosen)}
    if devices[0] == "cpu":
        made |= {**dict.fromkeys(_THREADS, "1"), "ACCELERATE_USE_CPU": "true"}
    return made


def run(
    folder: Path, devices: Sequence[str], hear: Callable[[Step], None], handles: Sequence[int] = ()
) -> None:
    """Do the job in a folder in processes of their own, one a device, which inherit some handles.

    Raises:
        TrainingError: it failed; what the process said of it, or the last lines of its log.
    """
    failed: dict[str, Any] | None = None
    with _started(folder, devices, handles) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith(b"{"):
                continue  # said by a launcher
            message = json.loads(line)
            if "error" in message:
                failed = failed or message["error"]
            else:
                hear(Step(**message))
        code = process.wait()
    if failed is not None:
        raise TrainingError(failed["what"], where=failed["where"], fix=failed["fix"])
    if code != 0:
        raise _unexplained(code, folder / LOG)


@contextmanager
def _started(
    folder: Path, devices: Sequence[str], handles: Sequence[int]
) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process; it is ended with all its children, however this is left."""
    group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            command(folder, len(devices)),
            env=environment(devices, os.environ),
            stdin=subprocess.PIPE,  # which ends with us, and the process with it
            stdout=subprocess.PIPE,
            stderr=log,
            pass_fds=tuple(handles),
            # Deaf to the Ctrl-C of a terminal, which is ours to act on.
            **group,
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        if process.returncode != 0:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        _send(process, how)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_SECONDS)
            break
    _send(process, signal.SIGKILL)  # children that outlived it


def _send(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, how)
        else:
            process.terminate()


def _unexplained(code: int, log: Path) -> TrainingError:
    if code == -signal.SIGKILL:
        return TrainingError(
            "the process that trains was killed, as systems do when memory is full.",
            where=str(log),
            fix="Choose a smaller micro_batch in the recipe; training goes on where it was.",
        )
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    said = "\n".join(lines[-_LAST_LINES:])
    return TrainingError(
        f"the process that trains failed (exit code {code}).",
        where=str(log),
        fix=f"Its last words:\n{said}" if said else None,
    )
