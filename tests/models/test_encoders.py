"""Image encoders of several families: which output is an image's vector, and what is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from models.tiny_encoders import PATCH, SIDE, WIDTH, save_encoder, transformers  # noqa: E402
from visift.errors import ModelError  # noqa: E402
from visift.models.encoder_facts import EncoderFacts, read_encoder_facts  # noqa: E402
from visift.models.encoders import ImageEncoder  # noqa: E402
from visift.models.ref import BUILTIN_TINY, ModelRef  # noqa: E402

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Folder of the tiny encoder of a family. Do not change it."""

    @functools.cache
    def folder(name: str) -> Path:
        return save_encoder(name, tmp_path_factory.mktemp(name))

    return folder


def load(folder: Path, **options: Any) -> ImageEncoder:
    return ImageEncoder.load(ModelRef(str(folder)), "cpu", **options)


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = [(60, 40), (30, 90), (28, 28)]
    return [
        Image.fromarray(rng.integers(0, 256, (high, wide, 3), dtype=np.uint8))
        for wide, high in sizes
    ]


def unit(vectors: Any) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def outputs(folder: Path, kind: str) -> Any:
    """What transformers itself gives for the pictures."""
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    with torch.inference_mode():
        return model(**processor(images=pictures(), return_tensors="pt"))


@pytest.mark.parametrize(
    ("name", "kind", "pooling"),
    [
        ("dinov2", "Dinov2Model", "cls"),
        ("dinov2_registers", "Dinov2WithRegistersModel", "cls"),
        ("dinov3", "DINOv3ViTModel", "cls"),
        ("vit", "ViTModel", "cls"),
        ("clip_vision", "CLIPVisionModel", "pooled"),
        ("siglip_vision", "SiglipVisionModel", "pooled"),
        ("convnext", "ConvNextModel", "pooled"),
    ],
)
def test_the_default_vector_of_a_family(
    encoder: Folder, name: str, kind: str, pooling: str
) -> None:
    loaded = load(encoder(name))
    assert (loaded.pooling, loaded.width) == (pooling, WIDTH)
    said = outputs(encoder(name), kind)
    wanted = said.last_hidden_state[:, 0] if pooling == "cls" else said.pooler_output.flatten(1)
    np.testing.assert_allclose(loaded.embed(pictures()), unit(wanted.numpy()), atol=1e-5)


def test_dinov2_gives_the_class_token_after_the_final_norm(encoder: Folder) -> None:
    model = transformers.Dinov2Model.from_pretrained(encoder("dinov2")).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(encoder("dinov2"))
    pixels = processor(images=pictures(), return_tensors="pt")
    with torch.inference_mode():
        states = model(**pixels, output_hidden_states=True).hidden_states
        wanted = model.layernorm(states[-1])[:, 0].numpy()
    np.testing.assert_allclose(load(encoder("dinov2")).embed(pictures()), unit(wanted), atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_of_a_model_of_images_and_text_the_vision_part_is_taken(encoder: Folder, name: str) -> None:
    kind = {"clip": "CLIPModel", "siglip": "SiglipModel"}[name]
    whole = getattr(transformers, kind).from_pretrained(encoder(name)).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(encoder(name))
    with torch.inference_mode():
        pixels = processor(images=pictures(), return_tensors="pt")
        wanted = whole.vision_model(**pixels).pooler_output.numpy()
    loaded = load(encoder(name))
    assert loaded.pooling == "pooled"
    np.testing.assert_allclose(loaded.embed(pictures()), unit(wanted), atol=1e-5)


@pytest.mark.parametrize(("name", "first"), [("vit", 1), ("dinov2_registers", 4), ("convnext", 0)])
def test_the_mean_is_that_of_the_patches(encoder: Folder, name: str, first: int) -> None:
    kinds = {"vit": "ViTModel", "convnext": "ConvNextModel"}
    kind = kinds.get(name, "Dinov2WithRegistersModel")
    states = outputs(encoder(name), kind).last_hidden_state
    states = states.flatten(2).transpose(1, 2) if states.ndim == 4 else states[:, first:]
    loaded = load(encoder(name), pooling="mean")
    np.testing.assert_allclose(
        loaded.embed(pictures()), unit(states.mean(dim=1).numpy()), atol=1e-5
    )


def test_a_pooler_that_nobody_trained_is_not_needed_and_not_used(encoder: Folder) -> None:
    folder = encoder("vit_classifier")
    assert load(folder).pooling == "cls"
    with pytest.raises(ModelError, match=r"lack the weights of 2 tensors, pooler.dense.bias"):
        load(folder, pooling="pooled")


def test_the_tower_of_the_bundled_model_gives_the_mean_of_its_patches() -> None:
    loaded = ImageEncoder.load(ModelRef(BUILTIN_TINY), "cpu")
    assert (loaded.pooling, loaded.width) == ("mean", 96)
    vectors = loaded.embed(pictures())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_what_is_no_image_encoder_is_refused(
    encoder: Folder, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match="a LlavaModel reads more than images"):
        load(tiny_model("llava"))
    with pytest.raises(ModelError, match="hides parts of an image at random"):
        load(encoder("vit_mae"))
    with pytest.raises(ModelError, match="gives no pooler_output"):
        load(encoder("vit_msn"), pooling="pooled")
    with pytest.raises(ModelError, match="has no class token"):
        load(encoder("convnext"), pooling="cls")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot be loaded as an image encoder"):
        load(tmp_path)


# --- what its files say ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dinov2", "vit", "clip", "siglip_vision"])
def test_sizes_are_known_without_loading(encoder: Folder, name: str) -> None:
    facts = read_encoder_facts(ModelRef(str(encoder(name))))
    loaded = load(encoder(name))
    assert facts.width == loaded.width
    patches = (SIDE // PATCH) ** 2
    assert facts.tokens == patches + 1
    blocks = [p for n, p in loaded.model.named_parameters() if "layer" in n and p.ndim == 2]
    assert facts.parameters == sum(p.numel() for p in blocks)
    assert facts.flops == 2 * facts.tokens * facts.parameters


def test_the_default_is_known_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ModelRef, "here", lambda self: None)
    monkeypatch.setattr(ModelRef, "config_folder", lambda self: pytest.fail("asks the hub"))
    facts = read_encoder_facts(ModelRef("facebook/dinov2-base"))
    assert (facts.width, facts.tokens) == (768, 257)
    assert facts.parameters == 12 * 12 * 768**2


def test_nothing_is_known_of_what_was_not_named() -> None:
    assert read_encoder_facts(None) == EncoderFacts()
    assert EncoderFacts(width=3).flops is None
