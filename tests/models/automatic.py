"""Tiny random models of any entry of transformers' image-text-to-text mapping, built by rule.

Configurations are shrunk by the names of their fields. The image processor is set to images of 64
pixels, and tokenizer and chat template are the same for all. What then does not fit together is no
verdict on the family; those that matter have a model made by hand in `models.families`.
"""

from __future__ import annotations

import functools
import inspect
import re
from typing import Any

from PIL import Image

from models.parts import BLOCKS, t, tokenizer, torch

_WIDTH, _IMAGE, _PATCH, _HEADS = 64, 64, 16, 4
_MOST_PARAMETERS = 120_000_000
_HEAD = _WIDTH // _HEADS

#: Field of a configuration -> its tiny value.
_SIZES: tuple[tuple[str, int], ...] = (
    (r"(.*_)?num_(hidden_)?layers|depth|n_layers?|(en|de)coder_layers|num_global_layers", BLOCKS),
    (r"(.*_)?(num_)?(attention_|key_value_|kv_)?heads|n_head", _HEADS),
    (r"(.*_)?head_dim|d_kv", _HEAD),
    (r"(.*_)?(hidden_size|embed_dim|hidden_dim|output_dim|projection_dim|dim)|d_model", _WIDTH),
    (r"(.*_)?(intermediate_size|ffn_dim|mlp_dim)|d_ff|n_inner", _WIDTH),
    (r"num_experts|n_routed_experts|num_local_experts|moe_num_experts", 4),
    (r"n_group|topk_group", 1),
    (r"num_experts_per_tok|moe_k|moe_topk|top_k_experts", 2),
    (r"patch_size", _PATCH),
    (r"image_size|img_size|input_size", _IMAGE),
    (r"max_position_embeddings", 4096),
)
_DERIVED = (
    "layer_types",
    "mlp_layer_types",
    "per_layer_config",
    "no_rope_layers",
    "moe_layers",
    "dtype",
    "architectures",
    "transformers_version",
)
_GRIDS = [[_IMAGE, 2 * _IMAGE], [2 * _IMAGE, _IMAGE]]
_ROTARY = [_HEAD // 4, _HEAD // 8, _HEAD // 8]

#: Entries whose processors are another's.
_LIKE = {
    "glm4v_moe": "glm4v",
    "glm_ocr": "glm46v",
    "glmga": "glm46v",
    "qwen3_vl_moe": "qwen3_vl",
    "qwen3_5_moe": "qwen3_5",
}

_MROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": _ROTARY}
_HALF_MROPE = {**_MROPE, "partial_rotary_factor": 0.5, "mrope_section": [2, 1, 1]}

#: What the rules cannot know of a configuration ("part.field"), and of a processor.
_FITTED: dict[str, dict[str, Any]] = {
    "gemma3": {"mm_tokens_per_image": 4},
    "gemma4": {
        "vision_config": {
            "hidden_size": _WIDTH,
            "intermediate_size": _WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": _HEADS,
            "num_key_value_heads": _HEADS,
            "head_dim": _HEAD,
        }
    },
    "glm46v": {"text_config.rope_parameters": _MROPE},
    "glm4v": {"text_config.rope_parameters": _MROPE},
    "glm4v_moe": {"text_config.rope_parameters": _HALF_MROPE},
    "glm_ocr": {"text_config.rope_parameters": _MROPE},
    "glmga": {"text_config.rope_parameters": _MROPE},
    "llama4": {"vision_config.intermediate_size": 4 * _WIDTH},
    "minicpmv4_6": {"insert_layer_id": 1},
    "minicpmv4_7": {"insert_layer_id": 1},
    "paddleocr_vl": {"text_config.rope_parameters": _MROPE},
    "qwen2_5_vl": {"text_config.rope_parameters": _MROPE},
    "qwen2_vl": {"text_config.rope_parameters": _MROPE, "vision_config.embed_dim": _WIDTH},
    "shieldgemma2": {"mm_tokens_per_image": 4},
    "vipllava": {"vision_feature_layers": [-1, -2, -3, -4, 0]},
}
_PROCESSING: dict[str, dict[str, Any]] = {
    "aya_vision": {"img_size": _IMAGE, "patch_size": 2 * _PATCH},
    "cohere2_vision": {"patch_size": 2},
    "mistral3": {"spatial_merge_size": 2},
}
#: Token that marks image positions, where it is not the one that stands in a prompt.
_EXPANDED = {
    "aya_vision": "<|IMG_PATCH|>",
    "gemma3": "<image>",
    "llama4": "<|patch|>",
    "ovis2": "<IMG_ATOM>",
    "shieldgemma2": "<image>",
}

_NAMED = {
    "image_token": "<image>",
    "video_token": "<video>",
    "audio_token": "<audio>",
    "boa_token": "<boa>",
    "eoa_token": "<eoa>",
    "boi_token": "<boi>",
    "eoi_token": "<eoi>",
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<image>",
}
_SPECIAL = ["<pad>", "<s>", "</s>", "<eot>", "<|vision_start|>", "<|vision_end|>"]
_TEMPLATE = (
    "{% for message in messages %}{{ '[' + message['role'] + ']' }}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}{{ 'IMAGE' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% if message['role'] == 'assistant' %}{{ '<eot>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)
_LENGTHS = ("image_seq_length", "image_seq_len", "num_image_tokens")


def build(name: str) -> tuple[Any, Any]:
    """Return a tiny model and its processor for an entry of the mapping.

    Raises:
        Exception: of any kind, where the rules do not give one.
    """
    processor = _processor(name)
    config = _config(name, processor)
    made = getattr(t, mapping()[name])
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in made(config).parameters())
    if size > _MOST_PARAMETERS:
        raise ValueError(f"{size:,} parameters are left")
    torch.manual_seed(0)
    model = made(config).float().eval()
    for tensor in model.parameters():
        if not tensor.any():  # a projection that starts as zeros would make all images the same
            torch.nn.init.normal_(tensor, std=0.1)
    _set_lengths(model, processor)
    return model, processor


def mapping() -> dict[str, str]:
    """Return the class of each `model_type` of the image-text-to-text mapping."""
    from transformers.models.auto import modeling_auto

    return dict(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)


def _mapped(kind: str, name: str) -> str:
    """Return the class that transformers names for a part of an entry."""
    from transformers.models.auto import image_processing_auto as images
    from transformers.models.auto import processing_auto, video_processing_auto
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    table: Any = {
        "processor": processing_auto.PROCESSOR_MAPPING_NAMES,
        "image_processor": images.IMAGE_PROCESSOR_MAPPING_NAMES,
        "video_processor": video_processing_auto.VIDEO_PROCESSOR_MAPPING_NAMES,
        "feature_extractor": FEATURE_EXTRACTOR_MAPPING_NAMES,
    }[kind]
    found = table.get(name) or table.get(_LIKE.get(name))
    if found is None:
        raise ValueError(f"transformers maps no {kind} to it")
    return str(found.get("torchvision") or found.get("pil")) if isinstance(found, dict) else found


# --- processor -----------------------------------------------------------------------------------


def _processor(name: str) -> Any:
    """Return the processor, its tokenizer given the special tokens that it asks for."""
    named, special = dict(_NAMED), list(_SPECIAL)
    while True:
        words = tokenizer(special, pad="<pad>", eos="<eot>", bos="<s>", **named)
        try:
            processor = _processor_with(name, words)
        except (AttributeError, ValueError) as error:
            asked = re.search(r"attribute '?(\w+_token)(?:_id)?'?(?:\.|$)", str(error))
            if asked is None or asked.group(1) in named:
                raise
            named[asked.group(1)] = f"<{asked.group(1)}>"
            continue
        token = str(getattr(processor, "image_token", "<image>"))
        missing = [
            one for one in (token, _EXPANDED.get(name, token)) if one not in words.get_vocab()
        ]
        if missing:
            special += missing
            continue
        processor.chat_template = _TEMPLATE.replace("IMAGE", token)
        return processor


def _processor_with(name: str, words: Any) -> Any:
    made = getattr(t, _mapped("processor", name))
    known: dict[str, Any] = {
        "patch_size": _PATCH,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        **dict.fromkeys(_LENGTHS, 4),
        **_PROCESSING.get(name, {}),
    }
    options: dict[str, Any] = {}
    for one in inspect.signature(made.__init__).parameters:
        if one == "tokenizer":
            options[one] = words
        elif one == "image_processor":
            options[one] = _image_processor(name)
        elif one in ("video_processor", "feature_extractor"):
            options[one] = getattr(t, _mapped(one, name))()
        elif one in known:
            options[one] = known[one]
    return made(**options)


def _image_processor(name: str) -> Any:
    made = getattr(t, _mapped("image_processor", name))
    plain, options = made(), dict[str, Any]()
    if plain.size is not None:
        sides = {side: _IMAGE for side, value in dict(plain.size).items() if value}
        if max(value or 0 for value in dict(plain.size).values()) > 5000:  # pixels, not sides
            sides = {"shortest_edge": _IMAGE**2, "longest_edge": 4 * _IMAGE**2}
        elif set(sides) == {"longest_edge"}:
            sides = {"longest_edge": 4 * _IMAGE}
        options["size"] = sides
    if getattr(plain, "crop_size", None):
        options["crop_size"] = {"height": _IMAGE, "width": _IMAGE}
    if isinstance(patch := getattr(plain, "patch_size", None), int):
        options["patch_size"] = _PATCH
    elif patch:
        options["patch_size"] = {"height": _PATCH, "width": _PATCH}
    if getattr(plain, "image_grid_pinpoints", None):
        options["image_grid_pinpoints"] = _GRIDS
    fitted = _PROCESSING.get(name, {})
    options |= {one: value for one, value in fitted.items() if hasattr(plain, one)}
    limits = {"min_pixels": _IMAGE**2, "max_pixels": 4 * _IMAGE**2}
    options |= {one: value for one, value in limits.items() if getattr(plain, one, None)}
    return made(**options)


def _set_lengths(model: Any, processor: Any) -> None:
    """Tell the processor how many tokens an image becomes, where it is told so."""
    owners = (processor, processor.image_processor)
    for owner, one in [(owner, one) for owner in owners for one in _LENGTHS if hasattr(owner, one)]:
        try:
            setattr(owner, one, _tokens_of_an_image(model, processor))
        except (TypeError, AttributeError, IndexError):
            return  # it asks for more than an image: then the processor counts for itself


def _tokens_of_an_image(model: Any, processor: Any) -> int:
    inputs = processor.image_processor(
        images=[Image.new("RGB", (_IMAGE, _IMAGE), "gray")], return_tensors="pt"
    )
    owner = model if hasattr(model, "get_image_features") else model.model
    taken = inspect.signature(owner.get_image_features).parameters
    with torch.inference_mode():
        found = owner.get_image_features(
            **{
                name: value.float() if value.is_floating_point() else value
                for name, value in inputs.items()
                if name in taken
            }
        )
    found = getattr(found, "pooler_output", found)
    features = found if isinstance(found, (list, tuple)) else [found]
    return sum(feature.numel() // feature.shape[-1] for feature in features)


# --- configuration -------------------------------------------------------------------------------


def _config(name: str, processor: Any) -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    words, made = processor.tokenizer, CONFIG_MAPPING[name]
    image = _EXPANDED.get(name) or getattr(processor, "image_token", "<image>")
    tokens = {one: words.convert_tokens_to_ids(token) for one, token in _NAMED.items()}
    tokens["image_token"] = words.convert_tokens_to_ids(str(image))
    tokens |= {f"{one}_token": getattr(words, f"{one}_token_id") for one in ("bos", "eos", "pad")}
    tokens["vision_start_token"] = words.convert_tokens_to_ids("<|vision_start|>")
    tokens["vision_end_token"] = words.convert_tokens_to_ids("<|vision_end|>")
    small = _shrunk(made().to_dict(), len(words), tokens)
    for path, value in _FITTED.get(name, {}).items():
        *parts, field = path.split(".")
        functools.reduce(lambda inner, part: inner[part], parts, small)[field] = value
    return made.from_dict(small)


def _shrunk(config: dict[str, Any], vocabulary: int, tokens: dict[str, int]) -> dict[str, Any]:
    small: dict[str, Any] = {}
    for name, value in config.items():
        if name in _DERIVED:
            continue
        if isinstance(value, dict) and ("config" in name or "model_type" in value):
            small[name] = _shrunk(value, vocabulary, tokens)
        elif name in ("vocab_size", "text_vocab_size", "vocab_size_per_layer_input"):
            small[name] = vocabulary
        elif token := re.fullmatch(r"(\w+_token)_(?:id|index)", name):
            small[name] = tokens.get(token.group(1), 0)
        else:
            small[name] = _small(name, value)
    return small


def _small(name: str, value: Any) -> Any:
    if name == "initializer_range":
        return 0.1
    if name == "image_grid_pinpoints" and value:
        return _GRIDS
    if name == "mrope_section":
        return _ROTARY
    if isinstance(value, dict):
        return {one: _small(str(one), inner) for one, inner in value.items()}
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        return value
    if isinstance(value, int):
        found = (size for pattern, size in _SIZES if re.fullmatch(pattern, name))
        return next(found, value)
    value = value[:BLOCKS] if len(value) > 2 * BLOCKS else value  # one for each layer
    whole = [one for one in value if isinstance(one, int)]
    if len(whole) != len(value) or not whole:
        return value
    if re.search("index|indices|layers", name):
        return [one % BLOCKS for one in whole] if min(whole) < 0 else [0, 1]
    return [_small(name, one) for one in value]
