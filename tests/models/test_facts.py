"""Sizes of a model from its files alone: those that loading it finds."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from visift.models.facts import ASSUMED_IMAGE_TOKENS, ModelFacts, context_tokens, read_facts
from visift.models.ref import ModelRef

TINY = ModelRef("builtin:tiny")


def folder_of(path: Path, config: Any, tensors: dict[str, list[int]] | None = None) -> ModelRef:
    """Write a model folder with a configuration and, of its weights, the header."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if tensors is not None:
        entries = {name: {"dtype": "BF16", "shape": shape} for name, shape in tensors.items()}
        header = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
        content = struct.pack("<Q", len(header)) + header
        (path / "model-00001-of-00001.safetensors").write_bytes(content)
    return ModelRef(str(path))


def test_sizes_are_those_of_the_loaded_model() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from visift.models.vlm import VLM

    vlm = VLM.load(TINY, "cpu")
    inside = vlm.model.model

    def size(module: Any) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    assert read_facts(TINY) == ModelFacts(
        blocks=len(vlm.blocks),
        width=vlm.width,
        image_tokens=16,
        assumed=False,
        patches=16,
        vision=size(inside.vision_tower),
        projector=size(inside.multi_modal_projector),
        language=size(inside.language_model.layers),
        head=size(vlm.model.lm_head),
    )


def test_operations_are_those_a_forward_pass_does() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    from PIL import Image
    from torch.utils.flop_counter import FlopCounterMode

    from visift.models.vlm import VLM

    vlm = VLM.load(TINY, "cpu")
    inputs = vlm.image_inputs([Image.new("RGB", (64, 64))])
    for layer in (0, 2):
        with FlopCounterMode(display=False) as counter:
            vlm.hidden_states(inputs, layer)
        # The rest are the template's tokens (5 beside 16) and attention between tokens.
        assert read_facts(TINY).forward_flops(layer) == pytest.approx(
            counter.get_total_flops(), rel=0.15
        )


def test_parts_are_told_apart_by_name(tmp_path: Path) -> None:
    tensors = {
        "model.visual.blocks.0.attn.qkv.weight": [7, 7],
        "model.visual.merger.mlp.0.weight": [5, 5],
        "model.language_model.embed_tokens.weight": [11, 8],
        "model.language_model.layers.0.mlp.weight": [8, 8],
        "model.language_model.layers.1.mlp.weight": [8, 8],
        "model.language_model.norm.weight": [8],
        "lm_head.weight": [11, 8],
    }
    facts = read_facts(folder_of(tmp_path, {"model_type": "other"}, tensors))
    assert facts == ModelFacts(
        blocks=2, width=8, image_tokens=ASSUMED_IMAGE_TOKENS, assumed=True, patches=None,
        vision=49, projector=25, language=128, head=88,
    )  # fmt: skip
    assert facts.training_flops(10) == 6 * (128 + 88) * 10


def test_the_configuration_stands_in_for_missing_weights(tmp_path: Path) -> None:
    config = {
        "model_type": "llava",
        "text_config": {"num_hidden_layers": 32, "hidden_size": 4096},
        "vision_config": {"image_size": 336, "patch_size": 14},
    }
    facts = read_facts(folder_of(tmp_path, config))
    assert (facts.blocks, facts.width, facts.image_tokens) == (32, 4096, 576)
    assert not facts.assumed
    assert facts.forward_flops(2) is facts.training_flops(5) is None


def test_images_in_tiles_have_no_stated_number_of_tokens(tmp_path: Path) -> None:
    config = {
        "model_type": "llava_next",
        "image_seq_length": 144,
        "vision_config": {"image_size": 336, "patch_size": 14},
    }
    facts = read_facts(folder_of(tmp_path, config))
    assert (facts.image_tokens, facts.assumed, facts.patches) == (ASSUMED_IMAGE_TOKENS, True, 576)


@pytest.mark.parametrize("whole", [True, False])
def test_weights_that_lie_there_twice_count_once(tmp_path: Path, whole: bool) -> None:
    tensors = {"model.layers.0.mlp.weight": [8, 8]}
    ref = folder_of(tmp_path, {"model_type": "other"}, tensors)
    part = tmp_path / "model-00001-of-00001.safetensors"
    (tmp_path / "consolidated.safetensors").write_bytes(part.read_bytes())
    if whole:
        (tmp_path / "model.safetensors").write_bytes(part.read_bytes())
    else:
        index = {"weight_map": dict.fromkeys(tensors, part.name)}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert read_facts(ref).language == 64


@pytest.mark.parametrize("config", ["", "{", "[]", '{"text_config": 3}'])
def test_damaged_files_say_nothing(config: str, tmp_path: Path) -> None:
    ref = folder_of(tmp_path, config)
    for content in (b"", b"\xff" * 8, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b"{}"):
        (tmp_path / "model.safetensors").write_bytes(content)
        assert read_facts(ref) == ModelFacts()


def test_no_model_no_facts() -> None:
    assert read_facts(None) == ModelFacts()
    assert context_tokens(None) is None


def test_the_length_a_model_reads_is_that_of_its_language_model(tmp_path: Path) -> None:
    nested = {"max_position_embeddings": 9, "text_config": {"max_position_embeddings": 4096}}
    assert context_tokens(folder_of(tmp_path / "nested", nested)) == 4096
    assert context_tokens(folder_of(tmp_path / "flat", {"max_position_embeddings": 9})) == 9
    assert context_tokens(folder_of(tmp_path / "silent", {"model_type": "llava"})) is None
