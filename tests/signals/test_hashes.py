"""The difference hash: what it holds together, what it tells apart, and how it is measured."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from helpers import REAL_IMAGES, needs_shared
from visift.engine.lab import Examples, LocalLab
from visift.pool.near_duplicates import near_duplicates
from visift.pool.pool import Pool
from visift.signals.cost import Load
from visift.signals.hashes import ImageHash, difference_hash, pillow_major
from visift.signals.signal import identity


def scene(seed: int, size: tuple[int, int] = (180, 120)) -> Image.Image:
    """Return a smooth picture of its own, as photographs are at the scale of nine columns."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    small = Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)
    return small.filter(ImageFilter.GaussianBlur(2))


def apart(one: Image.Image, other: Image.Image) -> int:
    return (difference_hash(one) ^ difference_hash(other)).bit_count()


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def test_the_bits_are_where_it_gets_darker_to_the_right() -> None:
    ramp = np.tile(np.arange(9, dtype=np.uint8) * 20, (8, 1))
    to_the_right = Image.fromarray(ramp).convert("RGB")
    assert difference_hash(to_the_right) == 0
    assert difference_hash(to_the_right.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == 2**64 - 1
    ramp[0, 1:] = 0
    ramp[0, 0] = 200
    assert difference_hash(Image.fromarray(ramp).convert("RGB")) == 1 << 63


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_and_other_pictures_are_not(seed: int) -> None:
    picture = scene(seed)
    assert apart(picture, as_jpeg(picture, 60)) <= 3
    assert apart(picture, picture.resize((90, 60))) <= 3
    assert apart(picture, picture.point(lambda level: int(level * 0.9))) <= 3
    assert apart(picture, scene(seed + 100)) > 12


def test_pictures_without_a_shape_are_near_only_what_is_equal() -> None:
    flat = [Image.new("RGB", (40, 30), colour) for colour in ("white", "black", "red", "#fefefe")]
    hashes = np.array([difference_hash(one) for one in [*flat, flat[0].resize((7, 7))]], np.uint64)
    items, stay = near_duplicates(hashes, np.arange(5, dtype=np.uint64), 8)
    assert (items.tolist(), stay.tolist()) == ([4], [0])


def test_images_that_cannot_be_decoded_have_a_reason_and_harm_no_other(tmp_path: Path) -> None:
    for seed in range(6):
        scene(seed).save(tmp_path / f"{seed}.png")
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "4.png").write_bytes((tmp_path / "4.png").read_bytes()[:99])
    pool = Pool.open(tmp_path)
    lab = LocalLab(pool, tmp_path / "cache", lambda: ["cpu"])
    measured = lab.measure(ImageHash(), Examples(pool.rows()))
    ok = measured.ok(pool.rows())
    assert ok.tolist() == [True, False, True, True, False, True]
    reasons = measured.reasons(pool.rows())
    assert reasons[1] == "image empty: 1.png (0 bytes)"
    assert str(reasons[4]).startswith("image truncated: 4.png")
    hashes = measured.take("image_hash", pool.rows()[ok]).reshape(-1)
    assert hashes.dtype == np.uint64
    expected = [difference_hash(scene(seed)) for seed in (0, 2, 3, 5)]
    assert hashes.tolist() == expected


def test_it_costs_no_model_and_its_identity_names_the_decoder() -> None:
    cost = ImageHash().cost(Load(items=10, images=10))
    assert (cost.forwards_full, cost.forwards_partial, cost.tokens) == (0, 0, 0)
    assert cost.bytes_stored == 80
    assert identity(ImageHash())["pillow"] == pillow_major()


@needs_shared
def test_neighbouring_photographs_are_found_and_others_are_not(tmp_path: Path) -> None:
    pool = Pool.open(REAL_IMAGES / "bccd.zip")
    rows = pool.rows()[:60]
    lab = LocalLab(pool, tmp_path, lambda: ["cpu"])
    hashes = lab.measure(ImageHash(), Examples(rows)).take("image_hash", rows).reshape(-1)
    items, _ = near_duplicates(hashes, pool.tie_keys(0)[rows], 4)
    assert 0 < len(items) < 15
