"""PRISM's features with the forward pass stopped early, against a full forward pass."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import best_of
from benchmarks.table import Line

SIDE, PATCH = 336, 14
IMAGE_TOKENS = (SIDE // PATCH) ** 2
WIDTH, BLOCKS, VISION_BLOCKS = 256, 32, 4
LAYER = 2
IMAGES, QUICK_IMAGES = 32, 4
RUNS = 2


def run(folder: Path, quick: bool) -> Iterator[Line]:
    """Yield the lines of this benchmark, on a model with random weights made for it."""
    images = QUICK_IMAGES if quick else IMAGES
    with tempfile.TemporaryDirectory(dir=folder) as model:
        build_model(Path(model))
        full = best_of(1 if quick else RUNS, run_full, model, images)
        early = best_of(1 if quick else RUNS, run_early, model, images)
    scale = float(np.abs(full.value).max())
    difference = float(np.abs(full.value - early.value).max()) / scale
    size = f"{images} images of {IMAGE_TOKENS} tokens, {BLOCKS} blocks of width {WIDTH}"
    yield Line.of(f"features: full forward ({size})", full, f"1 ({images / full.seconds:.2f} a s)")
    yield Line.of(
        f"features: stopped at block {LAYER}",
        early,
        f"{full.seconds / early.seconds:.1f} x as fast ({images / early.seconds:.2f} a s)",
        f"largest difference {difference:.1e} of the largest value",
        difference,
    )


def run_early(model: str, images: int) -> Generator[None, None, NDArray[np.float32]]:
    """As a job: features by the package's signal."""
    from visift.models.ref import ModelRef
    from visift.signals.features import VisualFeatures
    from visift.signals.signal import ImageItem

    measure = VisualFeatures(ModelRef(model, dtype="float32"), LAYER).open("cpu")
    items = [ImageItem(str(n), partial(_image, n)) for n in range(images)]
    measure(items[:1])
    yield
    values = measure(items)
    yield
    return np.asarray(values.columns["visual_feature"])


def run_full(model: str, images: int) -> Generator[None, None, NDArray[np.float32]]:
    """As a job: the same features from all hidden states of a forward pass to the end."""
    from visift.models.ref import ModelRef
    from visift.models.vlm import VLM
    from visift.signals.features import VisualFeatures

    vlm = VLM.load(ModelRef(model, dtype="float32"), "cpu")
    batch = VisualFeatures(None).batch_size
    _full_features(vlm, [_image(0)])
    yield
    every = range(images)
    parts = [
        _full_features(vlm, [_image(n) for n in every[at : at + batch]]) for at in every[::batch]
    ]
    yield
    return np.concatenate(parts)


def _full_features(vlm: Any, images: list[Image.Image]) -> NDArray[np.float32]:
    import torch

    from visift.models.vlm import one_cpu_thread

    inputs = vlm.image_inputs(images)
    with torch.inference_mode(), one_cpu_thread():
        states = vlm.model(**inputs, output_hidden_states=True, use_cache=False).hidden_states
    mask = inputs["input_ids"] == vlm.image_token
    pooled = [states[LAYER][i][mask[i]].mean(dim=0).numpy() for i in range(len(images))]
    return np.stack(pooled)


def _image(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def build_model(folder: Path) -> None:
    """Write a LLaVA with LLaVA-1.5's image tokens and number of blocks, narrow, random weights."""
    from visift.models.vlm import import_transformers

    transformers = import_transformers()
    processor = _processor(transformers)
    vision = transformers.CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=512,
        num_hidden_layers=VISION_BLOCKS,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=WIDTH,
        intermediate_size=688,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        max_position_embeddings=1024,
        pad_token_id=0,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=processor.image_token_id,
        image_seq_length=IMAGE_TOKENS,
    )
    transformers.set_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)


def _processor(transformers: Any) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"<pad>": 0, "<unk>": 1, "<image>": 2, "USER:": 3, "ASSISTANT:": 4}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.LlavaProcessor(
        image_processor=transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        ),
        tokenizer=transformers.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            unk_token="<unk>",
            extra_special_tokens={"image_token": "<image>"},
        ),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="USER: <image>\n",
    )
