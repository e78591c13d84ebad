"""Tiny Idefics3, SmolVLM, PaliGemma, Gemma 3 and Llama 3.2 Vision (mllama)."""

from __future__ import annotations

from typing import Any

from models.parts import GEMMA, IDEFICS, LLAVA, TEXT, VISION, WIDTH, t, tokenizer, torch

_TILES = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
_IDEFICS_SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<end_of_utterance>",
    "<fake_token_around_image>",
    "<global-img>",
    "<image>",
    *_TILES,
]
_TILED = {"image_size": 64, "patch_size": 16}
_SPLIT = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 64}}


def idefics3() -> tuple[Any, Any]:
    words = tokenizer(_IDEFICS_SPECIAL, pad="<|im_end|>", eos="<end_of_utterance>")
    config = t.Idefics3Config(
        vision_config=VISION | _TILED,
        text_config=t.LlamaConfig(vocab_size=len(words), **TEXT),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        initializer_range=0.1,
    )
    processor = t.Idefics3Processor(
        image_processor=t.Idefics3ImageProcessorPil(**_SPLIT),
        tokenizer=words,
        image_seq_len=4,
        chat_template=IDEFICS,
    )
    return t.Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    words = tokenizer(_IDEFICS_SPECIAL, pad="<|im_end|>", eos="<end_of_utterance>")
    config = t.SmolVLMConfig(
        vision_config=VISION | _TILED,
        text_config=t.LlamaConfig(vocab_size=len(words), **TEXT),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        initializer_range=0.1,
    )
    processor = t.SmolVLMProcessor(
        image_processor=t.SmolVLMImageProcessor(**_SPLIT),
        tokenizer=words,
        video_processor=t.SmolVLMVideoProcessor(),
        image_seq_len=4,
        chat_template=IDEFICS,
    )
    return t.SmolVLMForConditionalGeneration(config), processor


def paligemma() -> tuple[Any, Any]:
    words = tokenizer(
        ["<pad>", "<eos>", "<bos>"], pad="<pad>", eos="<eos>", bos="<bos>", image_token="<image>"
    )
    # The processor adds its location and segmentation tokens (1,152) when it is made.
    image_processor = t.SiglipImageProcessorPil(size={"height": 56, "width": 56})
    image_processor.image_seq_length = 16
    processor = t.PaliGemmaProcessor(image_processor=image_processor, tokenizer=words)
    config = t.PaliGemmaConfig(
        vision_config=VISION | {"vision_use_head": False, "projection_dim": WIDTH},
        text_config=t.GemmaConfig(vocab_size=len(words), head_dim=12, **TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    return t.PaliGemmaForConditionalGeneration(config), processor


def gemma3() -> tuple[Any, Any]:
    words = tokenizer(
        ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
        pad="<pad>",
        eos="<end_of_turn>",
        bos="<bos>",
        image_token="<image_soft_token>",
        boi_token="<start_of_image>",
        eoi_token="<end_of_image>",
    )
    config = t.Gemma3Config(
        vision_config=VISION | {"vision_use_head": False},
        text_config=t.Gemma3TextConfig(
            vocab_size=len(words), head_dim=12, sliding_window=8, sliding_window_pattern=2, **TEXT
        ),
        image_token_id=words.convert_tokens_to_ids("<image_soft_token>"),
        boi_token_index=words.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=words.convert_tokens_to_ids("<end_of_image>"),
        mm_tokens_per_image=4,
        initializer_range=0.1,
    )
    processor = t.Gemma3Processor(
        image_processor=t.Gemma3ImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer=words,
        image_seq_length=4,
        chat_template=GEMMA,
    )
    model = t.Gemma3ForConditionalGeneration(config)
    # Starts as zeros, so that every image would be the same.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=0.1)
    return model, processor


def mllama() -> tuple[Any, Any]:
    special = ["<|begin_of_text|>", "<|eot_id|>", "<pad>", "<|image|>"]
    words = tokenizer(special, pad="<pad>", eos="<|eot_id|>", bos="<|begin_of_text|>")
    config = t.MllamaConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 4,
            "image_size": 56,
            "vision_output_dim": 64,
            "intermediate_layers_indices": [0],
        },
        text_config={
            **TEXT,
            "vocab_size": len(words),
            "cross_attention_layers": [1],
            "pad_token_id": words.pad_token_id,
        },
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    processor = t.MllamaProcessor(
        image_processor=t.MllamaImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer=words,
        chat_template=LLAVA.replace("<image>", "<|image|>"),
    )
    return t.MllamaForConditionalGeneration(config), processor
