"""Images: named where they lie, copied out of archives, linked; never over what is there."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.pools import NAMES, export_all, pool_of
from helpers import open_records, png, put_images, talk, write_json
from visift.errors import InputError, PoolError
from visift.export.trainers import check_export
from visift.pool.pool import Pool

SHOWN = [talk(f"<image>\nno {n}?", image=name) for n, name in enumerate(NAMES[:3])]


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "subset.jsonl").read_text("utf-8").splitlines()]


def media_dir(folder: Path) -> str:
    (line,) = (
        line
        for line in (folder / "subset.yaml").read_text("utf-8").splitlines()
        if line.startswith("media_dir: ")
    )
    return str(json.loads(line.removeprefix("media_dir: ")))


def zipped(folder: Path) -> Pool:
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for shade, name in enumerate(NAMES):
            archive.writestr(name, png(shade))
    return open_records(folder, SHOWN)


def test_relative_names_and_their_folder(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, talk("<image>", image="a/../a/./0.png"), SHOWN[1])
    folder, told = export_all(pool, "llama-factory", tmp_path / "x")
    assert media_dir(folder) == str(tmp_path)
    assert [line["images"] for line in lines(folder)] == [["a/0.png"], ["a/1.png"]]
    assert told == []
    assert f"Images are where they were: `{tmp_path}`." in (folder / "RUN.md").read_text("utf-8")


def test_absolute_names(tmp_path: Path) -> None:
    folder, _ = export_all(
        pool_of(tmp_path, *SHOWN), "llama-factory", tmp_path / "x", images="absolute"
    )
    assert lines(folder)[2]["images"] == [str(tmp_path / "a/2.png")]


@pytest.mark.parametrize("trainer", ["llava", "llama-factory"])
def test_images_in_archives_are_said_and_can_be_copied_out(tmp_path: Path, trainer: str) -> None:
    pool = zipped(tmp_path)
    folder, told = export_all(pool, trainer, tmp_path / "x")
    assert len(told) == 1
    assert "cannot open 3 images where they lie" in told[0]
    assert told[0] in (folder / "RUN.md").read_text("utf-8")
    folder, told = export_all(pool, trainer, tmp_path / "x", images="copy")
    assert told == []
    for shade, name in enumerate(NAMES[:3]):
        assert (folder / "images" / name).read_bytes() == png(shade)
    assert len(list((folder / "images").rglob("*.png"))) == 3
    assert str(folder / "images") in (folder / "RUN.md").read_text("utf-8")


def test_a_folder_with_copies_can_be_moved(tmp_path: Path) -> None:
    folder, _ = export_all(zipped(tmp_path), "llama-factory", tmp_path / "x", images="copy")
    assert media_dir(folder) == "images"


@pytest.mark.parametrize(("mode", "flag"), [("symlink", "--symlink-images"), ("absolute", "--ab")])
def test_what_lies_in_an_archive_cannot_be_named(tmp_path: Path, mode: str, flag: str) -> None:
    with pytest.raises(InputError, match=f"3 of 3 images lie inside archives: {flag}") as caught:
        export_all(zipped(tmp_path), "llama-factory", tmp_path / "x", images=mode)
    assert "--copy-images" in str(caught.value)


def test_links_and_then_copies_leave_the_originals_alone(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, *SHOWN)
    folder, _ = export_all(pool, "llama-factory", tmp_path / "x", images="symlink")
    link = folder / "images" / NAMES[1]
    assert link.is_symlink()
    assert os.path.samefile(link, tmp_path / NAMES[1])  # noqa: PTH121
    export_all(pool, "llama-factory", tmp_path / "x", images="copy")
    assert not link.is_symlink()
    assert (tmp_path / NAMES[1]).read_bytes() == link.read_bytes() == png(1)


@pytest.mark.parametrize("mode", ["copy", "symlink"])
def test_never_onto_the_images_themselves(tmp_path: Path, mode: str) -> None:
    put_images(tmp_path / "images", NAMES)
    pool = Pool.open(write_json(tmp_path / "pool.json", SHOWN), image_folder=tmp_path / "images")
    with pytest.raises(InputError, match="holds the images that would be copied into it"):
        export_all(pool, "llava", tmp_path, images=mode)
    assert [(tmp_path / "images" / name).read_bytes() for name in NAMES] == list(map(png, range(8)))


def joined(folder: Path, *, same: bool) -> Pool:
    for name, shade in (("one", 0), ("two", 0 if same else 1)):
        put_images(folder / name, ["i.png"])
        (folder / name / "i.png").write_bytes(png(shade))
        write_json(folder / name / "pool.json", [talk("<image>", name, image="i.png")])
    return Pool.open([folder / name / "pool.json" for name in ("one", "two")])


def test_several_image_folders(tmp_path: Path) -> None:
    pool = joined(tmp_path, same=False)
    folder, _ = export_all(pool, "llama-factory", tmp_path / "lf")
    assert [line["images"] for line in lines(folder)] == [
        [str(tmp_path / "one" / "i.png")],
        [str(tmp_path / "two" / "i.png")],
    ]
    with pytest.raises(InputError, match=r"hold different images of one name: i\.png"):
        export_all(pool, "llava", tmp_path / "x", images="copy")
    folder, _ = export_all(
        joined(tmp_path / "b", same=True), "llava", tmp_path / "y", images="copy"
    )
    assert (folder / "images" / "i.png").read_bytes() == png(0)


def test_a_name_that_only_visift_understands(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, talk("<image>", image="a\\0.png"))
    _, told = export_all(pool, "llava", tmp_path / "x")
    assert "cannot open 1 image where they lie" in told[0]
    folder, told = export_all(pool, "llama-factory", tmp_path / "y")
    assert lines(folder)[0]["images"] == ["a/0.png"]
    assert told == []


@pytest.mark.parametrize(
    ("trainer", "mode", "said"),
    [
        ("llava", "embed", "--embed is nothing that LLaVA can be given"),
        ("llava", "absolute", "It takes --copy-images, --symlink-images, or none of them"),
        ("trl", "relative", "It takes --embed, --absolute, --copy-images, --symlink-images"),
    ],
)
def test_what_a_trainer_cannot_be_given(tmp_path: Path, trainer: str, mode: Any, said: str) -> None:
    pool = pool_of(tmp_path, *SHOWN)
    with pytest.raises(InputError, match=said):
        export_all(pool, trainer, tmp_path / "x", images=mode)


def test_an_image_that_went_away(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, *SHOWN)
    check_export("trl", pool, np.arange(3))
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(PoolError, match=r"image missing: a/2.png\.\nRestore the image"):
        export_all(pool, "trl", tmp_path / "x")
    assert not (tmp_path / "x" / "RUN.md").exists()
    export_all(pool, "llava", tmp_path / "y")
    assert "cannot open 1 image" in (tmp_path / "y" / "RUN.md").read_text("utf-8"), "only named"
