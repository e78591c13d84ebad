"""Tiny Qwen2-VL, Qwen2.5-VL and Qwen3-VL."""

from __future__ import annotations

from typing import Any

from models.parts import MEAN_STD, QWEN, TEXT, WIDTH, t, tokenizer

_SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
_ROTARY = {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2]}}
_TOWER = {
    "intermediate_size": 64,
    "num_heads": 4,
    "out_hidden_size": WIDTH,
    "initializer_range": 0.1,
    "hidden_size": 32,
}


def _words() -> tuple[Any, dict[str, int]]:
    """Return the tokenizer, and the ids that the configuration names."""
    words = tokenizer(_SPECIAL, pad="<|endoftext|>", eos="<|im_end|>")
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return words, {name: words.convert_tokens_to_ids(token) for name, token in names.items()}


def qwen2_vl() -> tuple[Any, Any]:
    words, ids = _words()
    tower = {"embed_dim": 32, "hidden_size": WIDTH, "depth": 2, "num_heads": 4, "mlp_ratio": 2}
    config = t.Qwen2VLConfig(
        vision_config={**tower, "initializer_range": 0.1},
        text_config={**TEXT, **_ROTARY, "vocab_size": len(words)},
        **ids,
    )
    processor = t.Qwen2VLProcessor(
        image_processor=t.Qwen2VLImageProcessorPil(min_pixels=4 * 28 * 28, max_pixels=24 * 28 * 28),
        tokenizer=words,
        video_processor=t.Qwen2VLVideoProcessor(),
        chat_template=QWEN,
    )
    return t.Qwen2VLForConditionalGeneration(config), processor


def qwen2_5_vl() -> tuple[Any, Any]:
    words, ids = _words()
    config = t.Qwen2_5_VLConfig(
        vision_config={**_TOWER, "depth": 2, "window_size": 56, "fullatt_block_indexes": [1]},
        text_config={**TEXT, **_ROTARY, "vocab_size": len(words)},
        **ids,
    )
    processor = t.Qwen2_5_VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(min_pixels=4 * 28 * 28, max_pixels=24 * 28 * 28),
        tokenizer=words,
        video_processor=t.Qwen2VLVideoProcessor(),
        chat_template=QWEN,
    )
    return t.Qwen2_5_VLForConditionalGeneration(config), processor


def qwen3_vl() -> tuple[Any, Any]:
    words, ids = _words()
    tower = {**_TOWER, "depth": 3, "num_position_embeddings": 64}
    config = t.Qwen3VLConfig(
        vision_config={**tower, "deepstack_visual_indexes": [0, 1]},
        text_config={**TEXT, **_ROTARY, "vocab_size": len(words), "head_dim": 12},
        **ids,
    )
    processor = t.Qwen3VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(
            min_pixels=4 * 32 * 32, max_pixels=24 * 32 * 32, patch_size=16, **MEAN_STD
        ),
        tokenizer=words,
        video_processor=t.Qwen3VLVideoProcessor(),
        chat_template=QWEN,
    )
    return t.Qwen3VLForConditionalGeneration(config), processor
