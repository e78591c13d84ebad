"""Visual features of a list of images: a value or a reason for each, and safe on disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from visift.engine.store import Store, item_keys  # noqa: E402
from visift.errors import ModelError  # noqa: E402
from visift.models.ref import ModelRef  # noqa: E402
from visift.pool.imageroot import ImageRoot  # noqa: E402
from visift.signals.batching import NOT_FINITE  # noqa: E402
from visift.signals.features import VisualFeatures  # noqa: E402
from visift.signals.signal import ImageItem, Values, identity  # noqa: E402

GOOD = ["wide.png", "tall.png", "small.jpg", "grey.png", "big.png"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageRoot:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    sizes = [(90, 40), (40, 90), (9, 9), (64, 64), (400, 300)]
    for name, (width, height) in zip(GOOD, sizes, strict=True):
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert("L" if name == "grey.png" else "RGB").save(folder / name)
    (folder / "text.png").write_text("no image")
    (folder / "cut.png").write_bytes((folder / "big.png").read_bytes()[:2000])
    Image.new("RGB", (600, 2)).save(folder / "line.png")
    return ImageRoot.open(folder)


def items(root: ImageRoot, names: Sequence[str]) -> list[ImageItem]:
    return [ImageItem(name, partial(root.load, name)) for name in names]


def signal(folder: Path, **options: Any) -> VisualFeatures:
    return VisualFeatures(ModelRef(str(folder)), **options)


def reweighted(folder: Path, copy: Path, name: str, factor: float) -> Path:
    """Copy a model with one tensor multiplied."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    (full_name,) = (key for key in weights if key.endswith(name))
    weights[full_name] *= factor
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def features(values: Values) -> np.ndarray:
    return np.asarray(values.columns["visual_feature"])


def test_images_that_cannot_be_decoded_have_a_reason_and_harm_no_other(
    tiny_model: Callable[[str], Path], images: ImageRoot
) -> None:
    measure = signal(tiny_model("llava"), batch_size=3).open("cpu")
    bad = {0: "text.png", 2: "cut.png", 5: "missing.png"}
    names = list(GOOD)
    for position, name in bad.items():
        names.insert(position, name)
    mixed, alone = measure(items(images, names)), measure(items(images, GOOD))
    assert [i for i, reason in enumerate(mixed.reasons) if reason] == list(bad)
    assert mixed.reasons[5] == "image missing: missing.png"
    assert mixed.passing == {5}
    assert list(alone.reasons) == [None] * len(GOOD)
    assert not features(mixed)[list(bad)].any()
    fine = [i for i in range(len(names)) if i not in bad]
    np.testing.assert_allclose(features(mixed)[fine], features(alone), atol=1e-5)


@pytest.mark.parametrize("family", ["llava", "qwen2_5_vl", "smolvlm"])
def test_the_batch_size_moves_nothing_but_last_bits(
    tiny_model: Callable[[str], Path], images: ImageRoot, family: str
) -> None:
    folder = tiny_model(family)
    one = signal(folder, batch_size=1).open("cpu")(items(images, GOOD))
    all_ = signal(folder, batch_size=16).open("cpu")(items(images, GOOD))
    assert list(one.reasons) == list(all_.reasons) == [None] * len(GOOD)
    np.testing.assert_allclose(features(one), features(all_), atol=1e-5)


def test_an_image_that_the_processor_refuses_does_not_take_its_batch_along(
    tiny_model: Callable[[str], Path], images: ImageRoot
) -> None:
    measure = signal(tiny_model("qwen2_5_vl")).open("cpu")  # it takes no ratio beyond 200
    values = measure(items(images, [*GOOD[:2], "line.png", *GOOD[2:]]))
    assert [bool(reason) for reason in values.reasons] == [False, False, True, False, False, False]
    assert "not measurable: line.png (ValueError" in str(values.reasons[2])
    np.testing.assert_allclose(
        np.delete(features(values), 2, axis=0),
        features(measure(items(images, GOOD))),
        atol=1e-5,
    )


def test_measuring_twice_gives_the_same_bits(
    tiny_model: Callable[[str], Path], images: ImageRoot
) -> None:
    one, two = (
        signal(tiny_model("llava")).open("cpu")(items(images, GOOD)).columns["visual_feature"]
        for _ in range(2)
    )
    assert one.tobytes() == two.tobytes()


def test_no_images_give_no_rows(tiny_model: Callable[[str], Path]) -> None:
    values = signal(tiny_model("llava")).open("cpu")([])
    assert features(values).shape == (0, 48)
    assert list(values.reasons) == []


def test_a_layer_that_is_not_there_is_refused_before_the_first_image(
    tiny_model: Callable[[str], Path],
) -> None:
    with pytest.raises(ModelError, match="layer 9 of a model with 4 blocks"):
        signal(tiny_model("llava"), layer=9).open("cpu")


def test_features_that_are_not_finite_are_none(
    tiny_model: Callable[[str], Path], images: ImageRoot, tmp_path: Path
) -> None:
    broken = reweighted(tiny_model("llava"), tmp_path / "model", "linear_2.weight", float("inf"))
    values = signal(broken, layer=0).open("cpu")(items(images, GOOD))
    assert list(values.reasons) == [f"{NOT_FINITE}: {name}" for name in GOOD]
    assert not features(values).any()


def test_features_beyond_float16_survive_the_store(
    tiny_model: Callable[[str], Path], images: ImageRoot, tmp_path: Path
) -> None:
    loud = reweighted(tiny_model("llava"), tmp_path / "model", "linear_2.weight", 1e7)
    loud_signal = signal(loud, layer=0)
    large = loud_signal.open("cpu")(items(images, GOOD))
    assert np.abs(features(large)).max() > 1e6
    small = signal(tiny_model("llava"), layer=0).open("cpu")(items(images, GOOD))
    both = Values(
        {"visual_feature": np.concatenate([features(large), features(small)])},
        [*large.reasons, *small.reasons],
    )
    keys = item_keys([*GOOD, *(f"small/{name}" for name in GOOD)])
    store = Store.open(tmp_path / "cache", identity(loud_signal), VisualFeatures.columns)
    store.commit(keys, both)
    store.refresh()
    (part,) = store.parts
    read = part.values(VisualFeatures.columns[0])
    error = np.abs(read - features(both))
    assert store.find(keys)[:, 1].tolist() == list(range(len(keys)))
    assert (error <= 2**-11 * np.abs(features(both)).max(axis=1, keepdims=True)).all()
