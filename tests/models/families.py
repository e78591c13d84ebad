"""Tiny random models of real families, saved as folders that transformers loads.

Only sizes differ from the originals: architecture, processor, special tokens and the shape of the
chat template are the family's own.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # noqa: E402

from visift.models.vlm import import_transformers  # noqa: E402

t = import_transformers()

BLOCKS = 4
_WIDTH = 48
_TEXT = {
    "hidden_size": _WIDTH,
    "intermediate_size": 64,
    "num_hidden_layers": BLOCKS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
}
_MEAN_STD = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}

_LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
_QWEN_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}"
    "{{ message['content'] }}<|im_end|>\n{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}{{ ':' }}{% else %}{{ ': ' }}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{ line['text'] }}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """How to build one model, and the packages its processor cannot do without."""

    build: Callable[[], tuple[Any, Any]]
    needs: tuple[str, ...] = ()


def save(name: str, folder: Path) -> Path:
    """Save the tiny model of a family with its processor; skip the test where that cannot be."""
    family = (FAMILIES | WITHOUT_IMAGE_TOKENS)[name]
    for package in family.needs:
        require(name, package)
    torch.manual_seed(0)
    model, processor = family.build()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def require(name: str, package: str) -> None:
    """Skip the test unless a package that the family's processor needs is there."""
    try:
        importlib.import_module(package)
    except ImportError:
        pytest.skip(f"the processor of {name} needs {package}, which is not installed")


def tokenizer(special: list[str], *, pad: str, eos: str, bos: str | None = None) -> Any:
    """Make a tokenizer of single bytes and the given special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(special)
    return t.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, eos_token=eos, bos_token=bos, padding_side="left"
    )


def _llava() -> tuple[Any, Any]:
    words = tokenizer(["<unk>", "<s>", "</s>", "<image>", "<pad>"], pad="<pad>", eos="</s>")
    vision = t.CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=56,
        patch_size=14,
        initializer_range=0.1,
    )
    config = t.LlavaConfig(
        vision_config=vision,
        text_config=t.LlamaConfig(vocab_size=len(words), **_TEXT),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        image_seq_length=16,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    processor = t.LlavaProcessor(
        image_processor=t.CLIPImageProcessorPil(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=words,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_LLAVA_TEMPLATE,
    )
    return t.LlavaForConditionalGeneration(config), processor


_QWEN_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def _qwen_tokens(words: Any) -> dict[str, int]:
    return {
        "image_token_id": words.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": words.convert_tokens_to_ids("<|video_pad|>"),
        "vision_start_token_id": words.convert_tokens_to_ids("<|vision_start|>"),
        "vision_end_token_id": words.convert_tokens_to_ids("<|vision_end|>"),
    }


def _qwen2_5_vl() -> tuple[Any, Any]:
    words = tokenizer(list(_QWEN_SPECIAL), pad="<|endoftext|>", eos="<|im_end|>")
    text = {**_TEXT, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2]}}
    config = t.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": _WIDTH,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.1,
        },
        text_config={**text, "vocab_size": len(words)},
        **_qwen_tokens(words),
    )
    processor = t.Qwen2_5_VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(min_pixels=4 * 28 * 28, max_pixels=24 * 28 * 28),
        tokenizer=words,
        video_processor=t.Qwen2VLVideoProcessor(),
        chat_template=_QWEN_TEMPLATE,
    )
    return t.Qwen2_5_VLForConditionalGeneration(config), processor


def _qwen3_vl() -> tuple[Any, Any]:
    words = tokenizer(list(_QWEN_SPECIAL), pad="<|endoftext|>", eos="<|im_end|>")
    text = {**_TEXT, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 2, 2]}}
    config = t.Qwen3VLConfig(
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": _WIDTH,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.1,
        },
        text_config={**text, "vocab_size": len(words), "head_dim": 12},
        **_qwen_tokens(words),
    )
    processor = t.Qwen3VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(
            min_pixels=4 * 32 * 32, max_pixels=24 * 32 * 32, patch_size=16, **_MEAN_STD
        ),
        tokenizer=words,
        video_processor=t.Qwen3VLVideoProcessor(),
        chat_template=_QWEN_TEMPLATE,
    )
    return t.Qwen3VLForConditionalGeneration(config), processor


def _smolvlm() -> tuple[Any, Any]:
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    special = ["<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<fake_token_around_image>"]
    words = tokenizer(
        [*special, "<global-img>", "<image>", *tiles], pad="<|im_end|>", eos="<end_of_utterance>"
    )
    config = t.SmolVLMConfig(
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "patch_size": 16,
            "initializer_range": 0.1,
        },
        text_config=t.LlamaConfig(vocab_size=len(words), **_TEXT),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        initializer_range=0.1,
    )
    processor = t.SmolVLMProcessor(
        image_processor=t.SmolVLMImageProcessor(
            size={"longest_edge": 128}, max_image_size={"longest_edge": 64}
        ),
        tokenizer=words,
        video_processor=t.SmolVLMVideoProcessor(),
        image_seq_len=4,
        chat_template=_SMOLVLM_TEMPLATE,
    )
    return t.SmolVLMForConditionalGeneration(config), processor


def _mllama() -> tuple[Any, Any]:
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
            **_TEXT,
            "vocab_size": len(words),
            "cross_attention_layers": [1],
            "pad_token_id": words.pad_token_id,
        },
        image_token_index=words.convert_tokens_to_ids("<|image|>"),
    )
    processor = t.MllamaProcessor(
        image_processor=t.MllamaImageProcessorPil(size={"height": 56, "width": 56}),
        tokenizer=words,
        chat_template=_LLAVA_TEMPLATE.replace("<image>", "<|image|>"),
    )
    return t.MllamaForConditionalGeneration(config), processor


FAMILIES = {
    "llava": Family(_llava),
    "qwen2_5_vl": Family(_qwen2_5_vl, ("torchvision",)),
    "qwen3_vl": Family(_qwen3_vl, ("torchvision",)),
    "smolvlm": Family(_smolvlm, ("torchvision", "num2words")),
}

#: Reads images by cross-attention: image tokens stand for no features.
WITHOUT_IMAGE_TOKENS = {"mllama": Family(_mllama)}
