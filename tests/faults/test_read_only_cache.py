"""A cache that nobody may write to serves what it holds, and says in a sentence what it lacks."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from faults.running import Command, differing, nothing, one_sentence, pool_of

Lock = Callable[[], Callable[[], None]]


@contextmanager
def mounted(cache: Path) -> Iterator[Lock]:
    """Have a disk of its own at `cache`, and what makes it one for reading only."""
    disk = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(cache)]
    if shutil.which("mount") is None or subprocess.run(disk, capture_output=True).returncode:
        pytest.skip("may not mount a disk")

    def lock() -> Callable[[], None]:
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
        return nothing

    try:
        yield lock
    finally:
        subprocess.run(["umount", str(cache)], check=True)


@contextmanager
def forbidden(cache: Path) -> Iterator[Lock]:
    """Have a folder at `cache`, and what locks it, for root as well."""

    def lock() -> Callable[[], None]:
        for folder in (cache, *cache.iterdir()):
            folder.chmod(0o555)
        return be_like_others

    yield lock
    for folder in (cache, *cache.iterdir()):
        folder.chmod(0o755)


class _Rights(ctypes.Structure):
    _fields_ = tuple((f"{kind}{half}", ctypes.c_uint32) for half in (0, 1) for kind in "epi")


def be_like_others() -> None:
    """Give up what sets root apart from the owner of its files; see capabilities(7)."""
    system, header = ctypes.CDLL(None), (ctypes.c_uint32 * 2)(0x20080522, 0)
    rights = _Rights()
    assert system.capget(header, ctypes.byref(rights)) == 0
    rights.e0 &= ~0b110
    rights.p0 &= ~0b110
    assert system.capset(header, ctypes.byref(rights)) == 0


@pytest.mark.parametrize(
    ("place", "why"),
    [
        pytest.param(mounted, "Read-only file system", id="a disk for reading only"),
        pytest.param(forbidden, "Permission denied", id="no permission"),
    ],
)
def test_what_is_there_is_used_and_what_is_not_is_a_sentence(
    place: Callable[[Path], AbstractContextManager[Lock]], why: str, tmp_path: Path
) -> None:
    small, large = (pool_of(tmp_path / name, blocks) for name, blocks in (("s", 4), ("l", 6)))
    first = Command(small, tmp_path / "here", output="first")
    cache = tmp_path / "here" / "cache"
    cache.mkdir(parents=True)
    with place(cache) as lock:
        wanted = first.finish()
        before = lock()
        again = replace(first, output="again", before=before)
        assert differing(again.finish(), wanted) == []
        code, said = replace(again, pool=large, output="lacking").run()
        (store,) = cache.iterdir()
        assert code == 1
        assert one_sentence(said) == f"{store}: cannot be written ({why}). Choose another folder."
        code, said = replace(again, seconds=0.001, output="another").run()
        assert code == 1
        assert one_sentence(said).endswith(f"cannot be written ({why}). Choose another folder.")
        assert len(list(cache.iterdir())) == 1
