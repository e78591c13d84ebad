"""Image embeddings as a signal: unit vectors, reasons, identity, and which encoder is meant."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visift.errors import InputError
from visift.models.ref import BUILTIN_TINY, ModelRef
from visift.pool.imageroot import ImageRoot
from visift.signals.cost import Cost, Load
from visift.signals.embeddings import ImageEmbedding, encoder_for
from visift.signals.signal import ImageItem, identity

TINY = ModelRef(BUILTIN_TINY)


def items(folder: Path, count: int) -> list[ImageItem]:
    rng = np.random.default_rng(0)
    for n in range(count):
        pixels = rng.integers(0, 256, (20 + n, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n}.png")
    (folder / "1.png").write_text("no image")
    root = ImageRoot.open(folder)
    return [ImageItem(f"{n}.png", partial(root.load, f"{n}.png")) for n in range(count)]


def test_every_image_has_a_unit_vector_or_a_reason(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    images = items(tmp_path, 5)
    values = ImageEmbedding(TINY, batch_size=2).open("cpu")(images)
    vectors = values.columns["image_embedding"]
    assert vectors.dtype == np.float16
    assert [reason is None for reason in values.reasons] == [True, False, True, True, True]
    assert not vectors[1].any()
    lengths = np.linalg.norm(np.delete(vectors, 1, axis=0).astype(float), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-3)
    again = ImageEmbedding(TINY, batch_size=16).open("cpu")(images)
    np.testing.assert_allclose(again.columns["image_embedding"], vectors, atol=1e-3)


def test_encoder_and_pooling_are_its_identity() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    one, two = identity(ImageEmbedding(TINY)), identity(ImageEmbedding(TINY, pooling="cls"))
    assert one["model"] == two["model"] == TINY.identity()
    assert one != two


def test_the_cost_is_one_pass_an_image() -> None:
    tiny = ImageEmbedding(TINY).cost(Load(10, images=10))
    assert (tiny.forwards_full, tiny.bytes_stored) == (10, 10 * 96 * 2)
    assert tiny.flops == 10 * 2 * (4**2 + 1) * 3 * 96 * (4 * 96 + 2 * 384)
    unknown = ImageEmbedding(None).cost(Load(2))
    assert unknown == Cost(forwards_full=2, bytes_stored=None, flops=None)


@pytest.mark.parametrize(
    ("text", "model", "meant"),
    [
        ("auto", None, "facebook/dinov2-base"),
        ("auto", ModelRef("org/llava"), "facebook/dinov2-base"),
        ("auto", TINY, BUILTIN_TINY),
        (BUILTIN_TINY, TINY, BUILTIN_TINY),
        ("facebook/dinov2-base", TINY, "facebook/dinov2-base"),
        ("org/encoder", None, "org/encoder"),
    ],
)
def test_which_encoder_is_meant(text: str, model: ModelRef | None, meant: str) -> None:
    assert encoder_for(text, model).name == meant


def test_revision_and_device() -> None:
    found = encoder_for("org/encoder@abc", ModelRef("org/llava", device="cpu"))
    assert found == ModelRef("org/encoder", revision="abc", device="cpu")


@pytest.mark.parametrize("model", [None, ModelRef("org/llava")])
def test_the_toys_tower_is_refused_beside_another_model(model: ModelRef | None) -> None:
    with pytest.raises(InputError, match="is the tower of the bundled toy model"):
        encoder_for(BUILTIN_TINY, model)
