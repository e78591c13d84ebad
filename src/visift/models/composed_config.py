"""Configuration, tokeniser, image processor and chat template of a LLaVA made of parts."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from visift.errors import ModelError
from visift.models.parts import FEATURE_LAYER
from visift.models.vlm import import_transformers

IMAGE_TOKEN = "<image>"
PAD_TOKEN = "<pad>"
#: Rows of the embedding are filled up to a multiple of this, as in published LLaVA checkpoints.
ROW_MULTIPLE = 64

_LEAST_VISION_BLOCKS = -FEATURE_LAYER

# The prompt of Vicuna 1.1 and 1.5, which LLaVA-1.5 is trained with: its own words, one blank after
# what a user says, the end token after every answer. An image part brings its own line break, so a
# text part's is dropped: a conversation reads the same whether it came as one string or as parts.
_SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
CHAT_TEMPLATE = (
    "{% if not messages or messages[0]['role'] != 'system' %}"
    f'{{{{ "{_SYSTEM} " }}}}'
    "{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ 'USER: ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}{% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<image>\n' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'].lstrip('\n') }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ ' ' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def _loaded(kind: str, folder: Path, what: str, fix: str) -> Any:
    """Return what a class of transformers makes of a folder; no code of the folder is run."""
    try:
        auto = getattr(import_transformers(), kind)
        return auto.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # a folder of any content meets any part of transformers
        reason = str(error).strip().partition("\n")[0][:200]
        raise ModelError(
            f"{what} cannot be loaded ({type(error).__name__}: {reason}).",
            where=str(folder),
            fix=fix,
        ) from error


def _any_config(folder: Path) -> Any:
    return _loaded(
        "AutoConfig",
        folder,
        "its config.json",
        "It must be of a kind that transformers knows without code of its own.",
    )


def text_config(folder: Path) -> Any:
    """Return the configuration of a language model.

    Raises:
        ModelError: it is something else.
    """
    config = _any_config(folder)
    if hasattr(config, "vision_config") or not hasattr(config, "vocab_size"):
        raise ModelError(
            f"is a {config.model_type}, not a language model.",
            where=str(folder),
            fix="--llm is the language model alone, for LLaVA-1.5 a Vicuna 1.5.",
        )
    return config


def vision_config(folder: Path) -> Any:
    """Return the configuration of a CLIP's vision tower.

    Raises:
        ModelError: it is something else, or too shallow.
    """
    config = _any_config(folder)
    if config.model_type not in ("clip", "clip_vision_model"):
        raise ModelError(
            f"is a {config.model_type}, not a CLIP.",
            where=str(folder),
            fix="--vision is a CLIP, for LLaVA-1.5 openai/clip-vit-large-patch14-336.",
        )
    tower = getattr(config, "vision_config", config)
    if tower.num_hidden_layers < _LEAST_VISION_BLOCKS:
        raise ModelError(
            f"has {tower.num_hidden_layers} block, and LLaVA takes what the last but one gives.",
            where=str(folder),
            fix="Name a CLIP of two blocks or more.",
        )
    return tower


def configured(homes: tuple[Path, Path], text: Any, tower: Any) -> tuple[Any, Any]:
    """Return configuration and processor of the LLaVA made of two parts.

    Args:
        homes: folders of language model and vision tower.
        text: configuration of the one; its rows grow by those of added tokens.
        tower: configuration of the other.

    Raises:
        ModelError: tokeniser or image processor are not there, or do not fit.
    """
    transformers = import_transformers()
    tokenizer = _tokenizer(homes[0], text.vocab_size)
    processor = transformers.LlavaProcessor(
        image_processor=_image_processor(homes[1], tower.image_size),
        tokenizer=tokenizer,
        patch_size=tower.patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    )
    text.name_or_path = tower.name_or_path = ""  # no paths of this machine
    text.pad_token_id = tokenizer.pad_token_id
    if len(tokenizer) > text.vocab_size:
        text.vocab_size = -(-len(tokenizer) // ROW_MULTIPLE) * ROW_MULTIPLE
    config = transformers.LlavaConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        image_seq_length=(tower.image_size // tower.patch_size) ** 2,
        vision_feature_layer=FEATURE_LAYER,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        architectures=["LlavaForConditionalGeneration"],
    )
    return config, processor


def _tokenizer(folder: Path, rows: int) -> Any:
    """Return a language model's tokeniser with the two tokens added that LLaVA needs.

    Raises:
        ModelError: there is none, or it has tokens that the embedding has no row for.
    """
    fast = (folder / "tokenizer.json").is_file()
    if not fast and not (folder / "tokenizer.model").is_file():
        raise ModelError(
            "holds no tokeniser.",
            where=str(folder),
            fix="One of these is needed: tokenizer.json, tokenizer.model.",
        )
    if not fast and find_spec("sentencepiece") is None:
        raise ModelError(
            "keeps its tokeniser as tokenizer.model, which sentencepiece reads.",
            where=str(folder),
            fix="pip install sentencepiece protobuf",
        )
    tokenizer = _loaded(
        "AutoTokenizer", folder, "its tokeniser", "See that its files are whole and are there."
    )
    if not 0 < len(tokenizer) <= rows:
        raise ModelError(
            f"its tokeniser has {len(tokenizer):,} tokens, and its embedding {rows:,} rows.",
            where=str(folder),
            fix="Name a folder whose files belong together.",
        )
    added = import_transformers().AddedToken(IMAGE_TOKEN, special=True, normalized=False)
    tokenizer.add_tokens([added], special_tokens=True)
    if tokenizer.pad_token in (None, tokenizer.unk_token, tokenizer.eos_token):
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def _image_processor(folder: Path, size: int) -> Any:
    processor = _loaded(
        "AutoImageProcessor",
        folder,
        "its image processor",
        "A preprocessor_config.json is needed, as CLIP is published with.",
    )
    crop = getattr(processor, "crop_size", None) or {}
    if {crop["height"], crop["width"]} != {size} if crop else True:
        raise ModelError(
            f"its image processor does not make the {size} × {size} pixels that the tower takes.",
            where=str(folder),
            fix="Name a folder whose files belong together.",
        )
    return processor
