"""A full disk is one sentence; when there is room the same command continues, byte for byte."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from faults.running import Command, differing, one_sentence, pool_of

DISK_BYTES = 1 << 20
CONTINUES = "Free some space and run the same command again: what is measured is kept."


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pool_of(tmp_path_factory.mktemp("pool"), 12)


@pytest.fixture(scope="module")
def undisturbed(pool: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return Command(pool, tmp_path_factory.mktemp("undisturbed")).finish()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, free: int) -> Callable[[], None]:
    """Leave so many bytes of a disk free; returns what makes room again."""
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES - free))
    return ballast.unlink


def test_the_cache(
    pool: Path, undisturbed: dict[str, bytes], small_disk: Path, tmp_path: Path
) -> None:
    command = Command(pool, tmp_path / "here", cache=str(small_disk / "cache"), workers=2)
    make_room = fill(small_disk, 40 << 10)
    code, said = command.run()
    (store,) = (small_disk / "cache").iterdir()
    assert code == 1
    assert one_sentence(said) == f"{store}: the disk is full. {CONTINUES}"
    assert 0 < len(command.parts) < 12
    assert command.leftovers == []
    assert not (command.folder / "out" / "manifest.json").exists()
    make_room()
    assert differing(command.finish(), undisturbed) == []


@pytest.mark.parametrize(("free", "inside"), [(0, ""), (24 << 10, ""), (60 << 10, "/report")])
def test_the_run_directory(
    pool: Path,
    undisturbed: dict[str, bytes],
    small_disk: Path,
    tmp_path: Path,
    free: int,
    inside: str,
) -> None:
    command = Command(pool, tmp_path / "here", output=str(small_disk / "out"))
    make_room = fill(small_disk, free)
    code, said = command.run()
    assert code == 1
    assert one_sentence(said) == f"{small_disk}/out{inside}: the disk is full. {CONTINUES}"
    assert not (small_disk / "out" / "manifest.json").exists()
    make_room()
    assert differing(command.finish(), undisturbed) == []


def let_no_file_grow(n_bytes: int) -> None:
    """Have the system refuse what is longer, to workers as well."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


@pytest.mark.parametrize(("n_bytes", "where"), [(1200, "cache/MeanColour-"), (4000, "out")])
def test_where_files_may_not_grow(
    pool: Path, undisturbed: dict[str, bytes], tmp_path: Path, n_bytes: int, where: str
) -> None:
    limited = partial(let_no_file_grow, n_bytes)
    code, said = Command(pool, tmp_path / "here", before=limited).run()
    assert code == 1
    assert where in one_sentence(said)
    assert one_sentence(said).endswith("cannot be written (File too large). Choose another folder.")
    command = Command(pool, tmp_path / "here")
    assert command.leftovers == []
    assert differing(command.finish(), undisturbed) == []
