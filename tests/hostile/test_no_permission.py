"""What may not be read is said to be there and locked: never taken for missing, never left out."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers import png, talk, write_json
from hostile.malformed import put
from visift.errors import ImageError, PoolError
from visift.pool.pool import Pool

NOBODY = 65_534

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="permissions as Linux has them")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike those of `tmp_path`."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o755)
    put(made / "images" / "a.png", png())
    put(made / "images" / "locked" / "deep" / "b.png", png())
    write_json(made / "pool.json", [talk(image="a.png")])
    Pool.open(made / "pool.json", image_folder=made / "images")  # imports what it needs
    yield made
    for path in made.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(made)


@contextmanager
def without_rights() -> Iterator[None]:
    """Be nobody where the tests are run by root, whom nothing is locked to."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_locked_pool_file(folder: Path) -> None:
    (folder / "pool.json").chmod(0)
    with without_rights(), pytest.raises(PoolError, match=r"cannot be read \(Permission denied\)"):
        Pool.open(folder / "pool.json")


def test_a_locked_image_folder(folder: Path) -> None:
    (folder / "images").chmod(0)
    with without_rights(), pytest.raises(PoolError, match=r"cannot be read \(Permission denied\)"):
        Pool.open(folder / "pool.json", image_folder=folder / "images")


def test_a_locked_image_and_a_locked_folder_of_images(folder: Path) -> None:
    names = ["a.png", "locked/c.png", "locked/deep/b.png"]
    write_json(folder / "pool.json", [talk(image=name) for name in names])
    for name in ("a.png", "locked"):
        (folder / "images" / name).chmod(0)
    with without_rights():
        pool = Pool.open(folder / "pool.json", image_folder=folder / "images")
        assert pool.faults == [
            None,
            "image cannot be read: locked/c.png (Permission denied)",
            "image cannot be read: locked/deep/b.png (Permission denied)",
        ]
        with pytest.raises(ImageError, match=r"cannot be read \(Permission denied\)"):
            pool.image_bytes(pool.record(0).images[0])


def test_a_locked_folder_in_a_folder_of_images(folder: Path) -> None:
    (folder / "images" / "locked").chmod(0)
    with (
        without_rights(),
        pytest.raises(
            PoolError, match=r"the folder cannot be read \(Permission denied\)"
        ) as caught,
    ):
        Pool.open(folder / "images")
    assert caught.value.where == str(folder / "images" / "locked")


@pytest.mark.parametrize("name", ["images.csv", "images.parquet", "images.zip"])
def test_a_locked_table_or_archive_of_images(folder: Path, name: str) -> None:
    put(folder / name, b"image\na.png\n").chmod(0)
    with without_rights(), pytest.raises(PoolError, match=r"\(?Permission denied\)?"):
        Pool.open(folder / name)
