"""Coming and going from Ray: a cluster that is there already, or one for this process alone."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from visift.errors import InputError

#: Read when Ray is imported: no usage statistics, and not a word of its own on our stdout.
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}
#: Likewise: listen on loopback only, whatever the system.
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
#: No array goes through Ray, but Ray wants room of its own.
_STORE_BYTES = 100 << 20
_ANSWER_SECONDS = 5.0
_HEALTH_SECONDS = 20.0
_THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]")
#: A path in Ray's temporary folder names a socket, which may have 107 characters.
_LONGEST_TEMPORARY = 30


@dataclass(frozen=True, slots=True)
class NodeSize:
    """What one node of a cluster offers: whole CPUs and GPUs, and bytes of memory."""

    cpus: int
    gpus: int
    memory: int


def must_have_ray() -> None:
    """Raise `InputError` where Ray is not installed; does not import it."""
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "the executor ray needs Ray, which is not installed.", fix='pip install "visift[ray]"'
        )


def import_ray() -> Any:
    """Return the module `ray`; raises what `must_have_ray` raises."""
    must_have_ray()
    return importlib.import_module("ray")


def check_address(address: str) -> None:
    """Raise `InputError` for what is no address of a cluster, without connecting."""
    host, _, port = address.rpartition(":")
    if not host or "://" in host or not (port.isascii() and port.isdigit()):
        raise InputError(
            f'"{address}" is no address of a Ray cluster.',
            fix="It is HOST:PORT as ray start --head says it, for example --address 10.0.0.1:6379",
        )


@contextmanager
def connected(address: str | None, cpus: int = 1, payload: int = 0) -> Iterator[Any]:
    """Yield the module `ray`, connected; a Ray that was started here is gone afterwards.

    A program that is connected to Ray already stays so, and its cluster is the one used.

    Args:
        address: see `Ray.address`.
        cpus: of a Ray that is started.
        payload: bytes of the work that goes through it.

    Raises:
        InputError: Ray is not installed, or no cluster answers at the address.
    """
    with _environment(_QUIET if address else _QUIET | _LOOPBACK):
        ray = import_ray()
        if ray.is_initialized():
            yield ray
            return
        with _sigterm_heeded() as heed_sigterm, ExitStack() as leaving:
            folder = "" if address else leaving.enter_context(_temporary_folder())
            leaving.callback(ray.shutdown)
            if address:
                _join(ray, address)
            else:
                _start(ray, cpus, _STORE_BYTES + 2 * payload, folder)
            heed_sigterm()
            yield ray


def cluster_nodes(address: str) -> list[NodeSize]:
    """Return what the living nodes of a cluster offer in all, free or not.

    Raises:
        InputError: see `connected`.
    """
    with _environment(_QUIET):
        _must_be_ray(_as_ray_says(import_ray(), address))
    with connected(address) as ray:
        offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return [
        NodeSize(int(o.get("CPU", 0)), int(o.get("GPU", 0)), int(o.get("memory", 0)))
        for o in offers
    ]


def _start(ray: Any, cpus: int, store: int, folder: str) -> None:
    ray.init(
        address="local",
        num_cpus=cpus,
        object_store_memory=store,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _temp_dir=folder,
    )


def _join(ray: Any, address: str) -> None:
    address = _as_ray_says(ray, address)
    _must_answer(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # every release of Ray has its own
        raise InputError(
            f"the Ray cluster cannot be joined ({' '.join(str(error).split())[:300]}).",
            where=address,
            fix="visift must run on a node of the cluster, with the same Python and Ray.",
        ) from error


def _as_ray_says(ray: Any, address: str) -> str:
    """Return the address that Ray would ask: for this machine, the one others know it by."""
    host, _, port = address.rpartition(":")
    here = host in _THIS_MACHINE
    return f"{ray.util.get_node_ip_address()}:{port}" if here else address


def _must_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _nobody(address, getattr(error, "strerror", None) or str(error)) from None


def _must_be_ray(address: str) -> None:
    """Let another process ask first: where something else answers, Ray asks for many minutes."""
    _must_answer(address)
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        asked = subprocess.run(command, capture_output=True, timeout=_HEALTH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _nobody(address, "what answers is not Ray") from None
    if asked.returncode:
        raise _nobody(address, "what answers is no Ray of this release")


def _nobody(address: str, why: str) -> InputError:
    return InputError(
        f"no Ray cluster answers there ({why}).",
        where=address,
        fix="Start one with ray start --head, or leave out --address for this machine alone.",
    )


@contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _temporary_folder() -> Iterator[str]:
    """Have a folder for Ray's sessions, which it never removes, with a path that is short."""
    usual = tempfile.gettempdir()
    place = usual if len(usual) <= _LONGEST_TEMPORARY else "/tmp"
    folder = tempfile.mkdtemp(prefix="visift-ray-", dir=place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _sigterm_heeded() -> Iterator[Callable[[], None]]:
    """Have SIGTERM end a run as it does without Ray; yields what to call when Ray is connected.

    Ray takes the signal for itself, and where it waits it turns every `KeyboardInterrupt` that a
    handler raises into a plain one: the one that was raised goes on instead.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals are the main thread's, and Ray leaves them alone, too
        return
    before = signal.getsignal(signal.SIGTERM)
    raised: list[BaseException] = []

    def handle(number: int, frame: FrameType | None) -> None:
        assert callable(before)
        try:
            before(number, frame)
        except BaseException as stop:
            raised.append(stop)
            raise

    def heed() -> None:
        if callable(before):  # else Ray's own way of ending is the better one
            signal.signal(signal.SIGTERM, handle)

    try:
        yield heed
    except KeyboardInterrupt:
        if raised:
            raise raised[0] from None
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
