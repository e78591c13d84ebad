"""Tiny LLaVA, LLaVA-NeXT, LLaVA-OneVision and InternVL."""

from __future__ import annotations

from typing import Any

from models.parts import (
    INTERNVL,
    LLAVA,
    LLAVA_NEXT,
    LLAVA_ONEVISION,
    MEAN_STD,
    TEXT,
    VISION,
    WIDTH,
    t,
    tokenizer,
)

#: Resolutions of LLaVA-NeXT and OneVision: tiles of 56 pixels.
_GRIDS = [[56, 112], [112, 56], [112, 112]]
_CROPPED = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}


def llava() -> tuple[Any, Any]:
    words = tokenizer(["<unk>", "<s>", "</s>", "<image>", "<pad>"], pad="<pad>", eos="</s>")
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**VISION | {"num_hidden_layers": 3}),
        text_config=t.LlamaConfig(vocab_size=len(words), **TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    processor = t.LlavaProcessor(
        image_processor=t.CLIPImageProcessorPil(**_CROPPED),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA,
    )
    return t.LlavaForConditionalGeneration(config), processor


def llava_next() -> tuple[Any, Any]:
    words = tokenizer(["<unk>", "<s>", "</s>", "<image>", "<pad>"], pad="<pad>", eos="</s>")
    config = t.LlavaNextConfig(
        vision_config=t.CLIPVisionConfig(**VISION | {"num_hidden_layers": 3}),
        text_config=t.MistralConfig(vocab_size=len(words), **TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_grid_pinpoints=_GRIDS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    processor = t.LlavaNextProcessor(
        image_processor=t.LlavaNextImageProcessorPil(**_CROPPED, image_grid_pinpoints=_GRIDS),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT,
    )
    return t.LlavaNextForConditionalGeneration(config), processor


def llava_onevision() -> tuple[Any, Any]:
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"]
    words = tokenizer(special, pad="<|endoftext|>", eos="<|im_end|>")
    config = t.LlavaOnevisionConfig(
        vision_config=t.SiglipVisionConfig(**VISION, vision_use_head=False),
        text_config=t.Qwen2Config(vocab_size=len(words), **TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        video_token_index=words.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=_GRIDS,
    )
    size = {"height": 56, "width": 56}
    processor = t.LlavaOnevisionProcessor(
        image_processor=t.LlavaOnevisionImageProcessorPil(size=size, image_grid_pinpoints=_GRIDS),
        tokenizer=words,
        video_processor=t.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=LLAVA_ONEVISION,
    )
    return t.LlavaOnevisionForConditionalGeneration(config), processor


def internvl() -> tuple[Any, Any]:
    words = tokenizer(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        pad="<|endoftext|>",
        eos="<|im_end|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    config = t.InternVLConfig(
        vision_config=VISION | {"image_size": [56, 56], "patch_size": [14, 14]},
        text_config=t.Qwen2Config(vocab_size=len(words), **TEXT),
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        initializer_range=0.1,
    )
    tiles = {"height": 56, "width": 56}
    processor = t.InternVLProcessor(
        image_processor=t.GotOcr2ImageProcessorPil(
            size=tiles, crop_to_patches=True, max_patches=4, **MEAN_STD
        ),
        tokenizer=words,
        video_processor=t.InternVLVideoProcessor(size=tiles),
        image_seq_length=4,
        chat_template=INTERNVL,
    )
    assert config.text_config.hidden_size == WIDTH
    return t.InternVLForConditionalGeneration(config), processor
